//! What replicas serve to others over TLS: SCIM, by which identity providers push people, the door of the API server's audit webhook, and the web page. Every replica does,
//! whether it leads or not. `listener` takes connections, `certificate` follows the Secret with the key.

pub mod audit;
mod certificate;
mod listener;
pub mod page;
pub mod scim;
mod token;

use std::sync::Arc;

/// Whether something is so at the moment.
pub type Asked = Arc<dyn Fn() -> bool + Send + Sync>;
