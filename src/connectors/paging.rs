//! One pager for every system: the whole list, or an error. A list that is cut short would look like people who are gone.

use std::collections::HashSet;

use super::error::ConnectorError;

/// A page, and where the next one is.
#[derive(Debug)]
pub struct Page<T, C> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one is; nothing at the end.
    pub next: Option<C>,
    /// How many there are in all, if the system says so.
    pub total: Option<u64>,
}

/// More pages than any list has: a system that never ends is not read for ever.
const MOST_PAGES: usize = 10_000;

/// Reads all pages, from `first`. `id` names an item: one that comes twice is kept once, as the list moved meanwhile. A total that is not reached is an error;
/// it is the smallest that any page told, as people may be deleted while it is read.
pub async fn all<T, C, F>(
    operation: &str,
    first: C,
    id: impl Fn(&T) -> String,
    mut page: impl FnMut(C) -> F,
) -> Result<Vec<T>, ConnectorError>
where
    // No `AsyncFnMut`: a future that reads pages would not be Send if what it asks is borrowed.
    F: Future<Output = Result<Page<T, C>, ConnectorError>>,
{
    let garbled = |message: String| ConnectorError::Garbled { operation: operation.to_owned(), message };
    let mut known = HashSet::new();
    let mut items = Vec::new();
    let mut total: Option<u64> = None;
    let mut cursor = first;
    for _ in 0..MOST_PAGES {
        let read = page(cursor).await?;
        total = match (total, read.total) {
            (Some(before), Some(now)) => Some(before.min(now)),
            (before, now) => before.or(now),
        };
        items.extend(read.items.into_iter().filter(|item| known.insert(id(item))));
        let Some(next) = read.next else {
            let got = u64::try_from(items.len()).unwrap_or(u64::MAX);
            return match total {
                Some(total) if got < total => Err(garbled(format!("the list ended after {got} of {total}"))),
                _ => Ok(items),
            };
        };
        cursor = next;
    }
    Err(garbled(format!("the list does not end after {MOST_PAGES} pages")))
}
