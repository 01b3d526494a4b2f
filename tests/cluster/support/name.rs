//! Names that no other test of this run uses.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// `what` with a suffix of its own: at most eight characters more, and a DNS label if `what` is one. Also good as a label's value.
pub fn name(what: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(1);
    // Two runs may meet in one cluster, so the counter alone is not enough.
    static RUN: LazyLock<u32> = LazyLock::new(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (now.subsec_nanos() ^ std::process::id()) % 46_656
    });
    let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{what}-{}{}", base36(*RUN, 3), base36(counter, 1))
}

fn base36(mut number: u32, width: usize) -> String {
    let mut digits = Vec::new();
    while number > 0 || digits.len() < width {
        digits.push(char::from_digit(number % 36, 36).unwrap_or('0'));
        number /= 36;
    }
    digits.iter().rev().collect()
}
