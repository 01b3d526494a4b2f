//! Who may look: whoever the cluster itself knows by her token (TokenReview), as far as it lets her list the record (SubjectAccessReview). Its answers are remembered
//! for a few seconds, by a digest of the token: the token itself is kept nowhere.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client, Error};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::api::metadata::GROUP;
use crate::plan::page::rights::{Kind, Reader};
use crate::server::token::{Seal, bearer, seal_of};

use super::refusal::Refusal;

/// So long an answer of the cluster is remembered: a right that is taken away may be used so long.
const FRESH: Duration = Duration::from_secs(5);
/// Who was let in within this time is asked for again without waiting for her turn.
const FAMILIAR: Duration = Duration::from_hours(1);
/// So many tokens are remembered.
const MOST: usize = 1_024;
/// So many tokens that nobody was let in by are asked for at once, and then so many in a second: whoever sends made-up ones does not get at the API server with them.
const BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(39);
const EACH: Duration = Duration::from_millis(100);
/// So many questions are under way at once, and so long one may take.
const AT_ONCE: usize = 8;
const PATIENCE: Duration = Duration::from_secs(10);
/// No token is longer: those of ServiceAccounts have about a kilobyte, those of identity providers with many groups several.
const LONGEST: usize = 16 * 1024;

/// What the cluster said of a token.
struct Known {
    at: Instant,
    /// Who has it; nobody, if the cluster refused it.
    reader: Option<Arc<Reader>>,
}

/// Lets readers in.
pub struct Door {
    client: Client,
    known: Mutex<HashMap<Seal, Known>>,
    strangers: DefaultDirectRateLimiter,
    turns: Semaphore,
}

impl Door {
    /// Nobody known yet.
    pub fn new(client: Client) -> Self {
        let quota = Quota::with_period(EACH).unwrap_or(Quota::per_second(BURST)).allow_burst(BURST);
        Self { client, known: Mutex::default(), strangers: RateLimiter::direct(quota), turns: Semaphore::new(AT_ONCE) }
    }

    /// Lets somebody in whom the cluster knows.
    ///
    /// # Errors
    /// Where there is no token, the cluster refuses it, or does not answer.
    pub async fn admit(&self, authorization: Option<&str>) -> Result<Arc<Reader>, Refusal> {
        let token = authorization.and_then(bearer).filter(|token| !token.is_empty());
        let token =
            token.ok_or_else(|| Refusal::new(401, "Send a token of this cluster. `kubectl create token NAME -n NAMESPACE` makes one."))?;
        if token.len() > LONGEST {
            return Err(wrong());
        }
        let seal = seal_of(token);
        let familiar = match self.remembered(&seal) {
            Remembered::Fresh(reader) => return reader.ok_or_else(wrong),
            Remembered::Familiar => true,
            Remembered::No => false,
        };
        if !familiar && self.strangers.check().is_err() {
            return Err(Refusal::later(429, "Too many unknown tokens were sent to this page. Try again in a moment."));
        }
        let answer = timeout(PATIENCE, self.ask(token)).await;
        let reader = answer.map_err(|_| silent())??;
        self.remember(seal, reader.clone());
        reader.ok_or_else(wrong)
    }

    /// Asks the cluster who has a token, and what she may list. Nothing if it knows nobody by it.
    async fn ask(&self, token: &str) -> Result<Option<Arc<Reader>>, Refusal> {
        let Ok(_turn) = self.turns.acquire().await else { return Err(silent()) };
        let Some(user) = self.who(token).await? else { return Ok(None) };
        let asked = Kind::ALL.into_iter().map(|kind| {
            let may = self.may_list(&user, kind);
            async move { Ok(may.await?.then_some(kind)) }
        });
        let may_list: BTreeSet<Kind> = try_join_all(asked).await?.into_iter().flatten().collect();
        Ok(Some(Arc::new(Reader { user: user.username.unwrap_or_default(), may_list })))
    }

    async fn who(&self, token: &str) -> Result<Option<UserInfo>, Refusal> {
        let spec = TokenReviewSpec { token: token.to_owned(), ..TokenReviewSpec::default() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let answer = api.create(&PostParams::default(), &review).await.map_err(|error| unasked("TokenReview", &error))?;
        let status = answer.status.unwrap_or_default();
        Ok(status.user.filter(|_| status.authenticated == Some(true)))
    }

    async fn may_list(&self, user: &UserInfo, kind: Kind) -> Result<bool, Refusal> {
        let attributes = ResourceAttributes {
            verb: Some("list".to_owned()),
            group: Some(GROUP.to_owned()),
            resource: Some(kind.resource().to_owned()),
            ..ResourceAttributes::default()
        };
        let extra: Option<BTreeMap<String, Vec<String>>> = user.extra.clone();
        let spec = SubjectAccessReviewSpec {
            user: user.username.clone(),
            uid: user.uid.clone(),
            groups: user.groups.clone(),
            extra,
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = api.create(&PostParams::default(), &review).await.map_err(|error| unasked("SubjectAccessReview", &error))?;
        Ok(answer.status.unwrap_or_default().allowed)
    }

    fn remembered(&self, seal: &Seal) -> Remembered {
        match self.known.lock().get(seal) {
            Some(known) if known.at.elapsed() < FRESH => Remembered::Fresh(known.reader.clone()),
            Some(known) if known.reader.is_some() && known.at.elapsed() < FAMILIAR => Remembered::Familiar,
            _ => Remembered::No,
        }
    }

    fn remember(&self, seal: Seal, reader: Option<Arc<Reader>>) {
        let mut known = self.known.lock();
        if known.len() >= MOST {
            known.retain(|_, it| it.at.elapsed() < if it.reader.is_some() { FAMILIAR } else { FRESH });
        }
        if known.len() >= MOST {
            // Those whom nobody was let in by go first, then the oldest.
            let least = known.iter().min_by_key(|(_, it)| (it.reader.is_some(), it.at)).map(|(seal, _)| *seal);
            least.and_then(|seal| known.remove(&seal));
        }
        known.insert(seal, Known { at: Instant::now(), reader });
    }
}

/// What is remembered of a token.
enum Remembered {
    /// The answer, which still counts.
    Fresh(Option<Arc<Reader>>),
    /// That somebody was let in by it not long ago.
    Familiar,
    /// Nothing of use.
    No,
}

fn wrong() -> Refusal {
    Refusal::new(
        401,
        "The cluster does not know this token, or its time is over. `kubectl create token NAME -n NAMESPACE` makes a new one.",
    )
}

fn silent() -> Refusal {
    Refusal::later(503, "The API server does not answer. Try again in a moment.")
}

/// What the API server says of a request may tell of the token in it, so only the sort of its error is told.
fn unasked(what: &str, error: &Error) -> Refusal {
    let why = match error {
        Error::Api(status) => status.reason.as_str(),
        _ => "no answer",
    };
    tracing::warn!(what, why, "the page could not ask who somebody is");
    silent()
}
