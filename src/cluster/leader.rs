//! One replica works at a time: a Lease says which (<https://kubernetes.io/docs/concepts/architecture/leases/>).
//!
//! The holder stops before anybody else may start: it gives up after `renew_deadline` without an answer, and others wait the longer
//! `lease_duration` from the moment they last saw the Lease change, by their own clock.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::api::metadata::{FIELD_MANAGER, LEASE};

use super::apply::failed;
use super::error::{Error, conflict};

/// How often a replica that does not lead looks at the Lease. Reading is cheap, and a hand-over takes no longer than this.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// How long a Lease holds.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Others wait this long for a holder that does not renew.
    pub lease_duration: Duration,
    /// The holder gives up after this long without an answer.
    pub renew_deadline: Duration,
    /// How often the holder renews.
    pub retry_period: Duration,
}

/// Until when this replica may write. A process that was stopped finds it over before it writes again.
#[derive(Clone, Debug)]
pub struct Mandate(Arc<Mutex<Instant>>);

impl Default for Mandate {
    /// One that is over.
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Mandate {
    /// Refuses a write once the mandate is over.
    ///
    /// # Errors
    /// When the Lease was not renewed in time.
    pub fn check(&self) -> Result<(), Error> {
        if Instant::now() < *self.0.lock() { Ok(()) } else { Err(Error::NotLeading) }
    }

    fn until(&self, end: Instant) {
        *self.0.lock() = end;
    }

    /// Calls `over` once the mandate is over, from a thread of its own: of a process that was stopped and goes on, that thread is awake before the
    /// runtime has sent what it had accepted before.
    pub fn watch(&self, over: impl FnOnce() + Send + 'static) {
        let mandate = self.clone();
        std::thread::spawn(move || {
            loop {
                let left = mandate.0.lock().saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return over();
                }
                std::thread::sleep(left);
            }
        });
    }
}

/// A candidate.
pub struct Candidate {
    api: Api<Lease>,
    identity: String,
    terms: Terms,
    mandate: Mandate,
}

/// An election that was won.
pub struct Elected {
    /// What is held.
    pub lease: Lease,
    /// The Lease had to run out first. Whatever took the other replica away may have taken this one's watches, too, without a word.
    pub waited: bool,
}

impl Candidate {
    /// A candidate by this name.
    pub fn new(client: Client, namespace: &str, identity: String, terms: Terms) -> Self {
        Self { api: Api::namespaced(client, namespace), identity, terms, mandate: Mandate::default() }
    }

    /// Until when this replica may write.
    pub fn mandate(&self) -> Mandate {
        self.mandate.clone()
    }

    /// Waits until this replica leads.
    pub async fn elected(&self) -> Elected {
        let (mut seen, since) = (None, Instant::now());
        loop {
            let asked = Instant::now();
            match timeout(self.terms.renew_deadline, self.attempt(&mut seen)).await {
                Ok(Ok(Some((lease, given)))) => {
                    self.mandate.until(asked + self.terms.renew_deadline);
                    return Elected { lease, waited: !given && since.elapsed() >= self.terms.lease_duration };
                }
                Ok(Ok(None)) => {}
                Ok(Err(error)) => tracing::warn!(error = error.chain(), "cannot take part in the election; trying again"),
                // An answer that was lost on the way does not come any more; another connection may bring the next.
                Err(_) => tracing::warn!("nobody answers who asks for the lease; asking again"),
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Takes the Lease if that may be. Says whether nobody held it.
    async fn attempt(&self, seen: &mut Option<(Option<String>, Instant)>) -> Result<Option<(Lease, bool)>, Error> {
        let meta = meta();
        let Some(mut lease) = self.api.get_opt(LEASE).await.map_err(|error| failed::<Lease>("read", &meta, error))? else {
            let lease = Lease { metadata: meta.clone(), spec: Some(self.spec(0)) };
            return Ok(won(self.api.create(&PostParams::default(), &lease).await, &meta)?.map(|lease| (lease, true)));
        };
        let version = lease.metadata.resource_version.clone();
        let since = match seen {
            Some((last, since)) if *last == version => *since,
            _ => seen.insert((version, Instant::now())).1,
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let free = spec.holder_identity.as_deref().unwrap_or_default().is_empty();
        let own = spec.holder_identity.as_deref() == Some(&self.identity);
        if !free && !own && since.elapsed() < self.terms.lease_duration {
            return Ok(None);
        }
        lease.spec = Some(self.spec(spec.lease_transitions.unwrap_or_default() + 1));
        Ok(won(self.api.replace(LEASE, &parameters(), &lease).await, &meta)?.map(|lease| (lease, free)))
    }

    /// Renews until that fails for too long: then this replica does not lead any more.
    pub async fn hold(&self, mut lease: Lease) {
        let mut renewed = Instant::now();
        loop {
            sleep(self.terms.retry_period).await;
            let asked = Instant::now();
            let left = self.terms.renew_deadline.saturating_sub(renewed.elapsed());
            if let Some(spec) = &mut lease.spec {
                spec.renew_time = Some(MicroTime(Timestamp::now()));
            }
            match timeout(left, self.api.replace(LEASE, &parameters(), &lease)).await {
                Ok(Ok(held)) => {
                    lease = held;
                    renewed = asked;
                    self.mandate.until(asked + self.terms.renew_deadline);
                }
                Ok(Err(error)) if conflict(&error) => match self.api.get(LEASE).await {
                    Ok(found) if found.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()) == Some(&self.identity) => {
                        lease = found;
                    }
                    Ok(_) => return,
                    Err(error) => tracing::warn!(%error, "cannot read the lease"),
                },
                Ok(Err(error)) => tracing::warn!(%error, "cannot renew the lease"),
                Err(_) => {}
            }
            if renewed.elapsed() >= self.terms.renew_deadline {
                return;
            }
        }
    }

    /// Gives the Lease up, so that another replica need not wait for its end.
    pub async fn release(&self) {
        let Ok(Some(mut lease)) = self.api.get_opt(LEASE).await else { return };
        let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(&self.identity)) else { return };
        spec.holder_identity = Some(String::new());
        if let Err(error) = self.api.replace(LEASE, &parameters(), &lease).await {
            tracing::warn!(%error, "cannot give the lease up; others wait for its end");
        }
    }

    fn spec(&self, transitions: i32) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.terms.lease_duration.as_secs()).unwrap_or(i32::MAX)),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

fn parameters() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

fn meta() -> ObjectMeta {
    ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() }
}

fn won(answer: kube::Result<Lease>, meta: &ObjectMeta) -> Result<Option<Lease>, Error> {
    match answer {
        Ok(lease) => Ok(Some(lease)),
        Err(error) if conflict(&error) => Ok(None),
        Err(error) => Err(failed::<Lease>("take", meta, error)),
    }
}

/// Whether a Lease is held now, as far as its own times say.
pub fn held_by(lease: &Lease, now: Timestamp) -> Option<String> {
    let spec = lease.spec.as_ref()?;
    let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty())?;
    let end = spec
        .renew_time
        .as_ref()?
        .0
        .checked_add(jiff::SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or_default().into()))
        .ok()?;
    (now < end).then_some(holder)
}
