//! How many requests a system gets in a second at most, and none while it asks for patience.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::error::ConnectorError;

/// What a request came to that was answered, whatever the answer.
pub const ANSWERED: &str = "Answered";

/// Who hears what each request came to: [`ANSWERED`], or why there is no answer of use.
type Listener = dyn Fn(&str) + Send + Sync;
/// Who says whether anything may be sent.
type Guard = dyn Fn() -> bool + Send + Sync;

/// Lets requests through one by one. All requests of a connector pass here, so it is here that they are counted, and held back.
pub struct Throttle {
    limiter: DefaultDirectRateLimiter,
    listener: Option<Box<Listener>>,
    guard: Option<Box<Guard>>,
    /// Until then the system asks to be left alone.
    held_until: Mutex<Option<Instant>>,
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
        Self { limiter: RateLimiter::direct(quota), listener: None, guard: None, held_until: Mutex::default() }
    }

    /// Lets nothing through once somebody says no. It is asked right before each request, however long that waited for its turn.
    #[must_use]
    pub fn guarded_by(self, guard: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { guard: Some(Box::new(guard)), ..self }
    }

    /// Lets nothing through for a while, also of what is under way already: the system asks for patience.
    pub fn hold(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut held = self.held_until.lock();
        *held = Some(held.map_or(until, |before| before.max(until)));
    }

    fn admits(&self) -> Result<(), ConnectorError> {
        if self.guard.as_ref().is_some_and(|guard| !guard()) {
            return Err(ConnectorError::NotLeading);
        }
        let left = self.held_until.lock().map(|until| until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero());
        left.map_or(Ok(()), |left| Err(ConnectorError::RateLimited { operation: "ask the system".to_owned(), after: Some(left) }))
    }

    /// Lets somebody hear what each request came to.
    #[must_use]
    pub fn heard_by(self, listener: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { listener: Some(Box::new(listener)), ..self }
    }

    /// Waits until one more request may be sent, and sends it. One that the system does not want now is not sent, and fails at once.
    pub async fn send<T>(&self, request: impl Future<Output = Result<T, ConnectorError>>) -> Result<T, ConnectorError> {
        self.admits()?;
        self.limiter.until_ready().await;
        self.admits()?;
        let answer = request.await;
        if let Err(ConnectorError::RateLimited { after: Some(after), .. }) = &answer {
            self.hold(*after);
        }
        if let Some(listener) = &self.listener {
            match &answer {
                Ok(_) => listener(ANSWERED),
                Err(error) => listener(&error.reason().as_str()),
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    fn patience(seconds: u64) -> Result<(), ConnectorError> {
        Err(ConnectorError::RateLimited { operation: "look".to_owned(), after: Some(Duration::from_secs(seconds)) })
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_while_the_system_asks_for_patience() {
        let throttle = Throttle::new(100);
        let sent = AtomicUsize::new(0);
        let send = || throttle.send(async { Ok(sent.fetch_add(1, Ordering::Relaxed)) });
        send().await.expect("sent");
        throttle.send(async { patience(60) }).await.expect_err("patience");
        tokio::time::advance(Duration::from_secs(20)).await;
        // A shorter word does not shorten it.
        throttle.hold(Duration::from_secs(1));
        let error = send().await.expect_err("not sent");
        assert!(matches!(error, ConnectorError::RateLimited { after: Some(left), .. } if left == Duration::from_secs(40)), "{error:?}");
        tokio::time::advance(Duration::from_secs(39)).await;
        send().await.expect_err("not yet");
        assert_eq!(sent.load(Ordering::Relaxed), 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        send().await.expect("sent");
    }

    #[tokio::test]
    async fn who_lost_the_lease_while_waiting_for_a_turn_sends_nothing() {
        let leads = Arc::new(AtomicBool::new(true));
        let asked = leads.clone();
        let throttle = Throttle::new(2).guarded_by(move || asked.load(Ordering::Relaxed));
        for _ in 0..2 {
            throttle.send(async { Ok(()) }).await.expect("sent");
        }
        let waiting = throttle.send(async { Ok(()) });
        let over = async {
            tokio::task::yield_now().await;
            leads.store(false, Ordering::Relaxed);
        };
        let (answer, ()) = tokio::join!(waiting, over);
        assert!(matches!(answer, Err(ConnectorError::NotLeading)), "{answer:?}");
    }
}
