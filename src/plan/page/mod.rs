//! What the web page shows, and to whom: who has what and since when, what happened to one person, receipts, and the four figures.
//!
//! It is a reading of the record, and of what clusters were seen to hold; nothing is decided by it. [`rights`] says who may see which view; [`matrix`], [`person`],
//! [`receipts`] and [`figures`] are the views, as the documents that the page fetches.

pub mod checks;
pub mod figures;
pub mod matrix;
pub mod person;
pub mod receipts;
pub mod rights;
