//! How many requests a system gets in a second at most.

use std::fmt;
use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::error::ConnectorError;

/// What a request came to that was answered, whatever the answer.
pub const ANSWERED: &str = "Answered";

/// Who hears what each request came to: [`ANSWERED`], or why there is no answer of use.
type Listener = dyn Fn(&str) + Send + Sync;

/// Lets requests through one by one. All requests of a connector pass here, so it is here that they are counted.
pub struct Throttle {
    limiter: DefaultDirectRateLimiter,
    listener: Option<Box<Listener>>,
}

impl fmt::Debug for Throttle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Throttle").field("limiter", &self.limiter).finish_non_exhaustive()
    }
}

impl Throttle {
    /// At most so many requests in a second, none of them saved up for longer than that.
    pub fn new(per_second: u32) -> Self {
        let quota = Quota::per_second(NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN));
        Self { limiter: RateLimiter::direct(quota), listener: None }
    }

    /// Lets somebody hear what each request came to.
    #[must_use]
    pub fn heard_by(self, listener: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { listener: Some(Box::new(listener)), ..self }
    }

    /// Waits until one more request may be sent, and sends it.
    pub async fn send<T>(&self, request: impl Future<Output = Result<T, ConnectorError>>) -> Result<T, ConnectorError> {
        self.limiter.until_ready().await;
        let answer = request.await;
        if let Some(listener) = &self.listener {
            match &answer {
                Ok(_) => listener(ANSWERED),
                Err(error) => listener(&error.reason().as_str()),
            }
        }
        answer
    }
}
