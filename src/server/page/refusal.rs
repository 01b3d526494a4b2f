//! Why somebody gets no answer, in a sentence that names the remedy.

use serde_json::{Value, json};

/// Why somebody gets no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The sentence. It never has anything of a token in it.
    pub message: String,
    /// After so many seconds it may be tried again.
    pub retry_after: Option<u64>,
}

impl Refusal {
    /// For good, until something else is sent or allowed.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None }
    }

    /// For now.
    pub fn later(status: u16, message: impl Into<String>) -> Self {
        Self { retry_after: Some(2), ..Self::new(status, message) }
    }

    /// The body of the answer.
    pub fn body(&self) -> Value {
        json!({"message": self.message})
    }
}
