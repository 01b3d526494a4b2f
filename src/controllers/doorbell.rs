//! Events ring beside the work, never in its way: a burst of people is not held up by what is said about them.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};
use parking_lot::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// At most this many Events wait; more are not written. Grants are the record.
const WAITING: usize = 4_096;

/// After so many Events what was said before is forgotten: a Recorder keeps each for six minutes, to count it up when it is said again.
const REMEMBERED: usize = 1_000;

type Ring = (Event, ObjectReference);

/// Where Events wait to be written.
pub struct Doorbell {
    sender: Sender<Ring>,
    waiting: Mutex<Option<Receiver<Ring>>>,
    recorder: Box<dyn Fn() -> Recorder + Send + Sync>,
}

impl Doorbell {
    /// One that nobody answers before [`Self::run`].
    pub fn new(recorder: impl Fn() -> Recorder + Send + Sync + 'static) -> Self {
        let (sender, receiver) = channel(WAITING);
        Self { sender, waiting: Mutex::new(Some(receiver)), recorder: Box::new(recorder) }
    }

    /// Puts an Event on an object into the queue.
    pub fn ring(&self, object: ObjectReference, good: bool, reason: &str, note: &str) {
        let event = Event {
            type_: if good { EventType::Normal } else { EventType::Warning },
            reason: reason.to_owned(),
            note: Some(note.chars().take(1_000).collect()).filter(|note: &String| !note.is_empty()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if self.sender.try_send((event, object)).is_err() {
            tracing::debug!(reason, "too many Events wait, so this one is not written");
        }
    }

    /// Writes Events, one after another, for ever.
    pub async fn run(&self) {
        let Some(mut waiting) = self.waiting.lock().take() else { return };
        let (mut recorder, mut said) = ((self.recorder)(), 0);
        while let Some((event, object)) = waiting.recv().await {
            said += 1;
            if said > REMEMBERED {
                (recorder, said) = ((self.recorder)(), 0);
            }
            if let Err(error) = recorder.publish(&event, &object).await {
                tracing::debug!(%error, "an Event could not be written");
            }
        }
    }
}
