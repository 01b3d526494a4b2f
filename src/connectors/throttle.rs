//! How many requests a system gets in a second at most.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Lets requests through one by one, and counts them.
#[derive(Debug)]
pub struct Throttle {
    limiter: DefaultDirectRateLimiter,
    passed: AtomicU64,
}

impl Throttle {
    /// At most so many requests in a second, none of them saved up for longer than that.
    pub fn new(per_second: u32) -> Self {
        let quota = Quota::per_second(NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN));
        Self { limiter: RateLimiter::direct(quota), passed: AtomicU64::new(0) }
    }

    /// Waits until one more request may be sent.
    pub async fn permit(&self) {
        self.limiter.until_ready().await;
        self.passed.fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests were let through.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}
