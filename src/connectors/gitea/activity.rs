//! When somebody first pushed, by the feed of what she did.

use jiff::Timestamp;
use serde::Deserialize;

use super::super::error::ConnectorError;
use super::api::{Api, Voice};

/// So many pages are read at most. Who did more than these tell before she first pushed is not found.
const MOST_PAGES: u64 = 20;

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(default)]
    op_type: String,
    created: Timestamp,
}

impl Api {
    /// The first push in the feed of an account. The feed has the newest first, so it is read from its end.
    pub async fn first_push(&self, operation: &str, login: &str) -> Result<Option<Timestamp>, ConnectorError> {
        let Some((newest, total)) = self.events(operation, login, 1).await? else { return Ok(None) };
        let total = total.unwrap_or_default();
        let size = u64::try_from(newest.len()).unwrap_or(u64::MAX).max(1);
        let last = total.div_ceil(size);
        if last <= 1 {
            return Ok(pushed(&newest));
        }
        // What she does meanwhile moves events to later pages: one more is looked at.
        for number in (2..=last + 1).rev().take(usize::try_from(MOST_PAGES).unwrap_or(usize::MAX)) {
            let Some((events, _)) = self.events(operation, login, number).await? else { return Ok(None) };
            if let Some(at) = pushed(&events) {
                return Ok(Some(at));
            }
        }
        Ok(if last < MOST_PAGES { pushed(&newest) } else { None })
    }

    async fn events(&self, operation: &str, login: &str, number: u64) -> Result<Option<(Vec<Event>, Option<u64>)>, ConnectorError> {
        let query = [("only-performed-by", "true")];
        self.page(operation, Voice::Own, &["users", login, "activities", "feeds"], &query, number).await
    }
}

/// The earliest push of a page.
fn pushed(events: &[Event]) -> Option<Timestamp> {
    events.iter().filter(|event| matches!(event.op_type.as_str(), "commit_repo" | "push_tag")).map(|event| event.created).min()
}
