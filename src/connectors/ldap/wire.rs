//! Connections to a directory: always under TLS, bound as usher, each request bounded in time.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use ldap3::controls::{Assertion, Control, ControlType, MakeCritical, PagedResults, PostRead, PostReadResp, RawControl};
use ldap3::exop::PasswordModify;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, Mod, Scope, SearchEntry, StdStream};
use rustls::ClientConfig;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::connectors::bounded::{Allowance, too_large};
use crate::connectors::error::ConnectorError;
use crate::connectors::paging::{self, Page};
use crate::connectors::throttle::Throttle;

use super::refusal::{broken, code, error, garbled, said, silent};
use super::way;

/// How long a connection with TLS may take, and a request as a whole.
const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(20);
/// A connection that nobody used for longer may have been dropped by something in between, which nobody would notice.
const IDLE: Duration = Duration::from_secs(30);
/// How many entries a page has.
const PAGE: i32 = 500;

/// A change of an attribute. Values are bytes: passwords and keys need not be text.
pub(super) type Edit = Mod<Vec<u8>>;

/// All values of an attribute become these; none takes it away.
pub(super) fn replace(attribute: &str, values: impl IntoIterator<Item = Vec<u8>>) -> Edit {
    Mod::Replace(attribute.into(), values.into_iter().collect())
}

/// A value more.
pub(super) fn add(attribute: &str, value: impl Into<Vec<u8>>) -> Edit {
    Mod::Add(attribute.into(), HashSet::from([value.into()]))
}

/// A value less.
pub(super) fn delete(attribute: &str, value: impl Into<Vec<u8>>) -> Edit {
    Mod::Delete(attribute.into(), HashSet::from([value.into()]))
}

/// An entry as a directory tells it.
#[derive(Clone, Default)]
pub(super) struct Entry {
    /// Its name.
    pub dn: String,
    /// By their names in small letters.
    attributes: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Entry {
    fn new(read: SearchEntry) -> Self {
        let texts = read.attrs.into_iter().map(|(name, values)| (name, values.into_iter().map(String::into_bytes).collect()));
        let attributes = texts.chain(read.bin_attrs).map(|(name, values)| (name.to_lowercase(), values)).collect();
        Self { dn: read.dn, attributes }
    }

    /// The values of an attribute.
    pub fn values(&self, attribute: &str) -> &[Vec<u8>] {
        self.attributes.get(&attribute.to_lowercase()).map(Vec::as_slice).unwrap_or_default()
    }

    /// The values that are text.
    pub fn texts(&self, attribute: &str) -> impl Iterator<Item = &str> {
        self.values(attribute).iter().filter_map(|value| std::str::from_utf8(value).ok())
    }

    /// The first value, if it is text.
    pub fn text(&self, attribute: &str) -> Option<&str> {
        self.texts(attribute).next()
    }

    /// Whether a value is there, in any letter case.
    pub fn has(&self, attribute: &str, value: &str) -> bool {
        self.texts(attribute).any(|text| text.eq_ignore_ascii_case(value))
    }
}

/// What is searched for.
pub(super) struct Search<'a> {
    /// Below, or at, which entry.
    pub base: &'a str,
    /// How far below.
    pub scope: Scope,
    /// Which entries.
    pub filter: &'a str,
    /// Which attributes of them.
    pub attributes: &'a [&'a str],
}

/// How to get to a directory, and the connection that is shared by calls.
pub(super) struct Wire {
    url: String,
    tls: Arc<ClientConfig>,
    bind_dn: String,
    password: SecretString,
    throttle: Arc<Throttle>,
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    ldap: Ldap,
    used: Instant,
    spent: Spent,
    allowance: Arc<Allowance>,
}

/// Whether something went wrong on a connection, so that nobody knows what is still to come on it.
type Spent = Arc<AtomicBool>;

impl fmt::Debug for Wire {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Wire").field("url", &self.url).field("bind_dn", &self.bind_dn).finish_non_exhaustive()
    }
}

impl Wire {
    pub fn new(url: &str, tls: ClientConfig, bind_dn: &str, password: SecretString, throttle: Arc<Throttle>) -> Self {
        let kept = Mutex::new(None);
        Self { url: url.to_owned(), tls: Arc::new(tls), bind_dn: bind_dn.to_owned(), password, throttle, kept }
    }

    /// The shared connection; requests of several calls may be under way on it at once.
    pub async fn shared(&self, operation: &str) -> Result<Line<'_>, ConnectorError> {
        // Whoever waits for another one's attempt waits no longer than for one of his own.
        let mut kept = timeout(CONNECT + WHOLE, self.kept.lock()).await.map_err(|_| silent(operation))?;
        if let Some(there) = kept.as_mut()
            && !there.ldap.is_closed()
            && !there.spent.load(Ordering::Relaxed)
            && there.used.elapsed() < IDLE
        {
            there.used = Instant::now();
            return Ok(Line { wire: self, ldap: there.ldap.clone(), spent: there.spent.clone(), allowance: there.allowance.clone() });
        }
        *kept = None;
        let line = self.open(operation).await?;
        let (ldap, spent, allowance) = (line.ldap.clone(), line.spent.clone(), line.allowance.clone());
        *kept = Some(Kept { ldap, used: Instant::now(), spent, allowance });
        Ok(line)
    }

    /// A connection of one's own: a directory reads one list at a time on each.
    pub async fn open(&self, operation: &str) -> Result<Line<'_>, ConnectorError> {
        let allowance = Arc::new(Allowance::default());
        let connect = AssertUnwindSafe(self.connect(allowance.clone())).catch_unwind();
        let (connection, ldap) = match timeout(CONNECT, connect).await {
            Ok(Ok(Ok(connected))) => connected,
            Ok(_) if allowance.is_exceeded() => return Err(too_large(operation)),
            Ok(Ok(Err(error))) => return Err(broken(operation, error)),
            Ok(Err(_)) => return Err(garbled(operation, "the answer to StartTLS is none")),
            Err(_) => return Err(silent(operation)),
        };
        // It ends with the last one who holds `ldap`, or when the other side ends it: who waits for an answer hears of that.
        tokio::spawn(connection.drive().map(drop));
        let line = Line { wire: self, ldap, spent: Spent::default(), allowance };
        let bound = line.ask(operation, |mut ldap| async move { ldap.simple_bind(&self.bind_dn, self.password.expose_secret()).await });
        let bound = bound.await?;
        match bound.rc {
            0 => Ok(line),
            _ => Err(match error(operation, &bound) {
                ConnectorError::Rejected { operation, message } => ConnectorError::Unauthorized { operation, status: message },
                other => other,
            }),
        }
    }

    async fn connect(&self, allowance: Arc<Allowance>) -> Result<(LdapConnAsync, Ldap), LdapError> {
        let socket = way::connect(&self.url, allowance).await?;
        let settings = LdapConnSettings::new().set_std_stream(StdStream::Tcp(socket)).set_config(self.tls.clone());
        // ldaps:// has TLS from the first byte on; there this setting says nothing.
        LdapConnAsync::with_settings(settings.set_starttls(true), &self.url).await
    }
}

/// A connection in use.
pub(super) struct Line<'a> {
    wire: &'a Wire,
    ldap: Ldap,
    spent: Spent,
    allowance: Arc<Allowance>,
}

impl Line<'_> {
    /// Sends one request. Whatever goes wrong but a refusal is the end of the connection.
    async fn ask<T, F>(&self, operation: &str, call: impl FnOnce(Ldap) -> F) -> Result<T, ConnectorError>
    where
        F: Future<Output = ldap3::result::Result<T>>,
    {
        self.wire.throttle.send(self.answer(operation, call)).await
    }

    async fn answer<T, F>(&self, operation: &str, call: impl FnOnce(Ldap) -> F) -> Result<T, ConnectorError>
    where
        F: Future<Output = ldap3::result::Result<T>>,
    {
        // The library panics at an answer that is none: that is the directory's failure, and must stay one.
        let answer = timeout(WHOLE, AssertUnwindSafe(call(self.ldap.clone())).catch_unwind()).await;
        let failure = match answer {
            Ok(Ok(Ok(answer))) => {
                self.allowance.renew();
                return Ok(answer);
            }
            _ if self.allowance.is_exceeded() => too_large(operation),
            Ok(Ok(Err(error))) => broken(operation, error),
            Ok(Err(_)) => garbled(operation, "the answer is not as the protocol has it"),
            Err(_) => silent(operation),
        };
        self.spent.store(true, Ordering::Relaxed);
        Err(failure)
    }

    /// Searches. Entries that the directory has elsewhere make the answer half a one.
    async fn search_with(
        &self,
        operation: &str,
        search: &Search<'_>,
        controls: Vec<RawControl>,
    ) -> Result<(Vec<Entry>, LdapResult), ConnectorError> {
        let read = self.ask(operation, |mut ldap| async move {
            if !controls.is_empty() {
                ldap.with_controls(controls);
            }
            let found = ldap.search(search.base, search.scope, search.filter, search.attributes).await?;
            Ok((found.0.into_iter().map(|entry| Entry::new(SearchEntry::construct(entry))).collect(), found.1))
        });
        let (entries, result): (Vec<Entry>, LdapResult) = read.await?;
        match result.rc {
            0 if result.refs.is_empty() => Ok((entries, result)),
            0 => Err(garbled(operation, "a part of the answer is at another server, which usher does not ask; name that server by itself")),
            53 => Err(ConnectorError::unreachable(operation, said(&result))),
            _ => Err(error(operation, &result)),
        }
    }

    /// All entries that are searched for, as long as they are few: a directory that keeps some back says so, and that is an error.
    pub async fn search(&self, operation: &str, search: &Search<'_>) -> Result<Vec<Entry>, ConnectorError> {
        Ok(self.search_with(operation, search, Vec::new()).await?.0)
    }

    /// The same; of attributes only the values that a filter of values lets pass, if the directory can do that (RFC 3876): groups may be large.
    pub async fn search_values(&self, operation: &str, search: &Search<'_>, values: &str) -> Result<Vec<Entry>, ConnectorError> {
        let control = ldap3::controls::MatchedValues::new(values);
        Ok(self.search_with(operation, search, vec![control]).await?.0)
    }

    /// A page of what is searched for, and where the next one is (RFC 2696).
    pub async fn page(
        &self,
        operation: &str,
        search: &Search<'_>,
        cookie: Vec<u8>,
    ) -> Result<(Vec<Entry>, Option<Vec<u8>>), ConnectorError> {
        let control = PagedResults { size: PAGE, cookie }.critical().into();
        let (entries, result) = self.search_with(operation, search, vec![control]).await?;
        let told = result.ctrls.iter().find(|control| matches!(control, Control(Some(ControlType::PagedResults), _)));
        let Some(Control(_, told)) = told else {
            return Err(garbled(operation, "the directory does not say whether the list goes on"));
        };
        let told = std::panic::catch_unwind(AssertUnwindSafe(|| told.parse::<PagedResults>()));
        let cookie = told.map_err(|_| garbled(operation, "where the list goes on cannot be understood"))?.cookie;
        Ok((entries, (!cookie.is_empty()).then_some(cookie)))
    }

    /// Everything that is searched for, page by page.
    pub async fn all(&self, operation: &str, search: &Search<'_>) -> Result<Vec<Entry>, ConnectorError> {
        let pages = paging::all(
            operation,
            Vec::new(),
            |entry: &Entry| entry.dn.clone(),
            |cookie: Vec<u8>| async {
                let (items, next) = self.page(operation, search, cookie).await?;
                Ok(Page { items, next, total: None })
            },
        );
        pages.await
    }

    /// Makes an entry. Returns its entryUUID as well, if the directory tells it at once (RFC 4527).
    pub async fn add(
        &self,
        operation: &str,
        dn: &str,
        attributes: Vec<(&str, Vec<Vec<u8>>)>,
    ) -> Result<(LdapResult, Option<String>), ConnectorError> {
        let attributes = attributes.into_iter().map(|(name, values)| (name.into(), values.into_iter().collect()));
        let attributes: Vec<(Vec<u8>, HashSet<Vec<u8>>)> = attributes.collect();
        let made = self.ask(operation, |mut ldap| async move {
            let result = ldap.with_controls(PostRead::new(vec!["entryUUID"])).add(dn, attributes).await?;
            let told = result.ctrls.iter().find(|control| matches!(control, Control(Some(ControlType::PostReadResp), _)));
            let read = told.map(|Control(_, raw)| raw.parse::<PostReadResp>());
            let id = read.and_then(|read| read.attrs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("entryUUID")));
            let id = id.and_then(|(_, values)| values.into_iter().next());
            Ok((result, id))
        });
        made.await
    }

    /// Changes an entry, all of it or not at all. If an entryCSN is given, only while the entry has that one still (RFC 4528).
    pub async fn modify(&self, operation: &str, dn: &str, edits: Vec<Edit>, csn: Option<&str>) -> Result<LdapResult, ConnectorError> {
        let control = csn.map(|csn| Assertion::new(format!("(entryCSN={})", ldap3::ldap_escape(csn))));
        let changed = self.ask(operation, |mut ldap| async move {
            if let Some(control) = control {
                ldap.with_controls(control);
            }
            ldap.modify(dn, edits).await
        });
        changed.await
    }

    /// Whether an entry really has no such attribute, or usher may merely not read it: who may not even compare it is told so.
    pub async fn lacks(&self, operation: &str, dn: &str, attribute: &str) -> Result<bool, ConnectorError> {
        let compared = self.ask(operation, |mut ldap| async move { ldap.compare(dn, attribute, "?").await });
        Ok(compared.await?.0.rc == code::NO_SUCH_ATTRIBUTE)
    }

    /// Gives an entry another name among its siblings.
    pub async fn rename(&self, operation: &str, dn: &str, naming: &str) -> Result<LdapResult, ConnectorError> {
        self.ask(operation, |mut ldap| async move { ldap.modifydn(dn, naming, true, None).await }).await
    }

    /// Deletes an entry.
    pub async fn delete(&self, operation: &str, dn: &str) -> Result<LdapResult, ConnectorError> {
        self.ask(operation, |mut ldap| async move { ldap.delete(dn).await }).await
    }

    /// Sets a password, which the directory hashes (RFC 3062).
    pub async fn set_password(&self, operation: &str, dn: &str, password: &SecretString) -> Result<LdapResult, ConnectorError> {
        let result = self.ask(operation, |mut ldap| async move {
            let request = PasswordModify { user_id: Some(dn), old_pass: None, new_pass: Some(password.expose_secret()) };
            Ok(ldap.extended(request).await?.1)
        });
        let mut result = result.await?;
        // Some might say it back.
        if result.text.contains(password.expose_secret()) {
            result.text.clear();
        }
        Ok(result)
    }
}

/// A refusal becomes an error.
pub(super) fn done(operation: &str, result: &LdapResult) -> Result<(), ConnectorError> {
    if result.rc == 0 { Ok(()) } else { Err(error(operation, result)) }
}

/// As [`done`], but for these codes, which say that it is so already.
pub(super) fn done_or(operation: &str, result: &LdapResult, fine: &[u32]) -> Result<(), ConnectorError> {
    if fine.contains(&result.rc) { Ok(()) } else { done(operation, result) }
}

/// Whether an entry changed between reading and writing it.
pub(super) fn changed_meanwhile(result: &LdapResult) -> bool {
    result.rc == code::ASSERTION_FAILED
}
