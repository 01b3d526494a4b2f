//! Makes the documents that the page fetches, of what is watched. Nobody who looks holds up the operator's own work: what is read is read in small pieces, and the
//! matrix is made once for all who look within a few seconds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::Mutex;

use crate::api::{Departure, Grant};
use crate::cluster::memory::Memory;
use crate::plan::name::fingerprint;
use crate::plan::page::checks::Checks;
use crate::plan::page::figures::figures;
use crate::plan::page::matrix::Draft;
use crate::plan::page::person::person;
use crate::plan::page::receipts::receipts;
use crate::plan::page::rights::{Kind, Reader, View};

use super::refusal::Refusal;

/// So long a matrix is shown to whoever asks.
const FRESH: Duration = Duration::from_secs(2);
/// So many Grants are read at once.
const PIECE: usize = 200;

/// A document, and its version.
#[derive(Clone, Debug)]
pub struct Document {
    /// JSON.
    pub body: Bytes,
    /// A digest of it, in quotation marks.
    pub etag: String,
}

impl Document {
    fn of(value: &impl Serialize) -> Result<Self, Refusal> {
        let body = serde_json::to_vec(value).map_err(|_| Refusal::new(500, "This could not be put into words."))?;
        Ok(Self { etag: format!("\"{}\"", fingerprint(&body)), body: body.into() })
    }
}

/// A matrix, and when it was made.
type Made = Mutex<Option<(Instant, Document)>>;

/// Makes documents.
pub struct Desk {
    memory: Arc<Memory>,
    /// With people's names and teams, and without.
    matrices: [Made; 2],
}

impl Desk {
    /// Of what is watched.
    pub fn new(memory: Arc<Memory>) -> Self {
        Self { memory, matrices: [Mutex::default(), Mutex::default()] }
    }

    /// What a reader may see of the page.
    pub fn session(reader: &Reader) -> Result<Document, Refusal> {
        Document::of(&reader.session().map_err(|why| Refusal::new(403, why))?)
    }

    /// A view. For [`View::People`] the name says whose.
    pub async fn view(&self, view: View, name: &str, reader: &Arc<Reader>) -> Result<Document, Refusal> {
        reader.sees(view).map_err(|why| Refusal::new(403, why))?;
        match view {
            View::Access => self.access(reader).await,
            View::People => {
                let (memory, reader, name) = (self.memory.clone(), reader.clone(), name.to_owned());
                beside(move || of_person(&memory, &name, &reader)).await?
            }
            View::Departures => {
                let memory = self.memory.clone();
                beside(move || of_departures(&memory)).await?
            }
            View::Scorecards => {
                let scorecards: Vec<_> = self.memory.read(|content, _| content.scorecards.values().cloned().collect());
                Document::of(&figures(scorecards.iter().map(AsRef::as_ref)))
            }
        }
    }

    async fn access(&self, reader: &Arc<Reader>) -> Result<Document, Refusal> {
        let [without, with] = &self.matrices;
        let mut made = if reader.may(Kind::Developers) { with.lock().await } else { without.lock().await };
        if let Some((_, document)) = made.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(document.clone());
        }
        let (memory, reader) = (self.memory.clone(), reader.clone());
        let document = beside(move || of_access(&memory, &reader)).await??;
        *made = Some((Instant::now(), document.clone()));
        Ok(document)
    }
}

/// Does what takes a while where it holds up no connection.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::new(500, "This could not be made; usher's log says why."))
}

fn of_access(memory: &Memory, reader: &Reader) -> Result<Document, Refusal> {
    let names: Vec<String> = memory.read(|content, _| content.grants.running().cloned().collect());
    let mut draft = Draft::default();
    for piece in names.chunks(PIECE) {
        let grants: Vec<Arc<Grant>> = memory.read(|content, _| piece.iter().filter_map(|name| content.grants.get(name)).collect());
        grants.iter().for_each(|grant| draft.take_in(grant));
    }
    let checks = look(memory, draft.roles(), Timestamp::now());
    let matrix = memory.read(|_, scene| draft.finish(scene, &checks, reader));
    Document::of(&matrix)
}

/// Looks at Roles, one after another.
fn look<'a>(memory: &Memory, roles: impl IntoIterator<Item = &'a String>, now: Timestamp) -> Checks {
    let mut checks = Checks::default();
    for role in roles {
        memory.read(|_, scene| checks.look(scene, role, now));
    }
    checks
}

fn of_person(memory: &Memory, name: &str, reader: &Reader) -> Result<Document, Refusal> {
    let grants = memory.read(|content, _| content.grants.of(name));
    let now = Timestamp::now();
    let running = grants.iter().filter(|grant| grant.spec.ended.is_none());
    let checks = look(memory, running.map(|grant| &grant.spec.role), now);
    let person = memory.read(|_, scene| person(scene, name, (&grants, &checks), reader, now));
    let person =
        person.ok_or_else(|| Refusal::new(404, "The record knows nobody of that name. Write it as `kubectl get developers` does."))?;
    Document::of(&person)
}

fn of_departures(memory: &Memory) -> Result<Document, Refusal> {
    let departures: Vec<Arc<Departure>> = memory.read(|content, _| content.world.departures().all().map(|(_, it)| it.clone()).collect());
    Document::of(&receipts(departures.iter().map(AsRef::as_ref), Timestamp::now()))
}
