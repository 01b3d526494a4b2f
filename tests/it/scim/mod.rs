//! SCIM as a server speaks it (`plan::scim`), without a server: what senders are documented to send, what RFC 7643 and 7644 say, and what becomes of it.

mod corpus;
mod costs;
mod ends;
mod kept;
mod protocol;
mod pushed;
