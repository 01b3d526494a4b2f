//! Waiting for what a cluster does in its own time.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// How often a test looks again at first.
const POLL: Duration = Duration::from_millis(20);
/// How often it does when it has waited for long: what it asks costs the others time.
const SLOWEST: Duration = Duration::from_millis(200);

/// Deadlines say how long a thing takes at most where two cores have little else to do. A machine may be slower, and eight tests at once are much else: what comes
/// late is no fault here, as what is a matter of speed is measured by `make bench`.
const BUSY: u32 = 3;

/// Asks until `probe` gives a value. `Err` is what it saw instead: when `deadline` has passed, and as long again twice, the test fails with `what` and the last of
/// these.
pub async fn wait_until<T, E: Display>(what: &str, deadline: Duration, mut probe: impl AsyncFnMut() -> Result<T, E>) -> T {
    let (since, deadline) = (Instant::now(), deadline * BUSY);
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(seen) if since.elapsed() > deadline => {
                panic!("after {deadline:?} still not: {what}; last seen: {seen}")
            }
            Err(_) => tokio::time::sleep((since.elapsed() / 20).clamp(POLL, SLOWEST)).await,
        }
    }
}

/// Asks again and again for `period`, and fails with `what` and what was seen as soon as `probe` says `Err`.
pub async fn throughout<E: Display>(what: &str, period: Duration, mut probe: impl AsyncFnMut() -> Result<(), E>) {
    let since = Instant::now();
    while since.elapsed() < period {
        if let Err(seen) = probe().await {
            panic!("after {:?} no longer: {what}; seen: {seen}", since.elapsed());
        }
        tokio::time::sleep(2 * POLL).await;
    }
}
