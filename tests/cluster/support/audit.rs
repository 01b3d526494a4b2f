//! What the API server wrote down about the operator: which requests it really made.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use super::{ControlPlane, wait_until};

/// The operator, as the API server knows it.
pub const OPERATOR: &str = "system:serviceaccount:usher-system:usher";

/// The people whom it makes ServiceAccounts for.
const IDENTITIES: &str = "system:serviceaccounts:usher-identities";

/// One answered request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Who asked.
    pub user: String,
    /// get, list, watch, create, update, patch, delete or deletecollection.
    pub verb: String,
    /// The API group; empty for the core one.
    pub group: String,
    /// The plural of the kind; empty for paths such as /version.
    pub resource: String,
    /// Such as status or token; empty if none.
    pub subresource: String,
    /// Empty for what is cluster-wide.
    pub namespace: String,
    /// Empty where the request named none.
    pub name: String,
    /// The HTTP status of the answer.
    pub code: u16,
    /// The body, if the control plane runs with `AuditLevel::Request`.
    pub body: Option<Arc<Value>>,
    /// The path and its parameters.
    pub uri: String,
    /// Which token was used: that tells two replicas of one ServiceAccount apart.
    pub credential: String,
    /// When the API server got it, in a form that sorts.
    pub received: String,
    /// When the API server had answered it.
    pub answered: String,
}

impl Event {
    /// It changes what is stored, unless it was refused. Questions about access are `create`s that store nothing.
    pub fn is_write(&self) -> bool {
        let changes = matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection");
        changes && !matches!(self.group.as_str(), "authorization.k8s.io" | "authentication.k8s.io")
    }

    /// It concerns a Lease, which the leader renews for ever.
    pub fn is_lease(&self) -> bool {
        self.resource == "leases"
    }

    /// It tells a figure: beside all other work, and whenever one changes.
    pub fn is_figure(&self) -> bool {
        self.resource == "scorecards"
    }

    /// When the API server got it.
    #[track_caller]
    pub fn at(&self) -> Timestamp {
        self.received.parse().unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// When the API server had answered it.
    #[track_caller]
    pub fn done(&self) -> Timestamp {
        self.answered.parse().unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The object that it is about: target, namespace and name.
    pub fn object(&self) -> (String, String, String) {
        (self.target(), self.namespace.clone(), self.name.clone())
    }

    /// The resource with its subresource and group as in RBAC: `pods/log`, `roles.usher.dev`.
    pub fn target(&self) -> String {
        let mut target = self.resource.clone();
        if !self.subresource.is_empty() {
            target = format!("{target}/{}", self.subresource);
        }
        if self.group.is_empty() { target } else { format!("{target}.{}", self.group) }
    }
}

/// A reader of one API server's audit log, from the moment when it is made. An answer may be a little earlier than its line: wait for what must be there, and
/// where nothing may be there make a request of your own first.
#[derive(Debug)]
pub struct Audit {
    file: PathBuf,
    read: Mutex<Read>,
}

/// What was read of the log so far: it is asked again and again, and gets long.
#[derive(Debug)]
struct Read {
    to: u64,
    events: Vec<Event>,
}

impl Audit {
    /// Everything from now on.
    pub fn from_now(plane: &ControlPlane) -> Self {
        let file = plane.audit_log();
        // Never in the middle of a line.
        let whole = std::fs::read(&file).unwrap_or_default().iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        Self::from(file, whole as u64)
    }

    /// Everything since the API server started.
    #[allow(dead_code, reason = "used as soon as `usher run` works")]
    pub fn from_start(plane: &ControlPlane) -> Self {
        Self::from(plane.audit_log(), 0)
    }

    fn from(file: PathBuf, to: u64) -> Self {
        Self { file, read: Mutex::new(Read { to, events: Vec::new() }) }
    }

    /// The answered requests of the operator so far.
    pub fn operator(&self) -> Vec<Event> {
        self.events().into_iter().filter(|event| event.user == OPERATOR).collect()
    }

    /// The answered requests so far of the operator and of people it makes ServiceAccounts for; nobody else's are written down.
    pub fn events(&self) -> Vec<Event> {
        let mut read = self.read.lock().expect("not poisoned");
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(&self.file) {
            file.seek(SeekFrom::Start(read.to)).expect("the log does not shrink");
            file.read_to_end(&mut text).expect("the log can be read");
        }
        // The last line may be half written.
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        read.to += whole as u64;
        let lines = std::str::from_utf8(&text[..whole]).expect("the log is text").lines();
        read.events.extend(lines.filter_map(event));
        read.events.clone()
    }

    /// The operator's writes but for leases.
    pub fn writes(&self) -> Vec<Event> {
        self.operator().into_iter().filter(|event| event.is_write() && !event.is_lease()).collect()
    }

    /// Waits until the operator has written nothing for `period`, and gives what it wrote before.
    pub async fn still(&self, period: Duration) -> Vec<Event> {
        let mut seen = (usize::MAX, Instant::now());
        wait_until("the operator has nothing left to write", Duration::from_mins(2), async || {
            let writes = self.writes();
            if writes.len() != seen.0 {
                seen = (writes.len(), Instant::now());
            }
            if seen.1.elapsed() >= period { Ok(writes) } else { Err(format!("{} writes", writes.len())) }
        })
        .await
    }
}

/// Writes line by line, so that a failure shows what was written.
pub fn lines(events: &[Event]) -> String {
    let line = |event: &Event| {
        format!("\n  {} {} {} {}/{} {}", event.received, event.verb, event.target(), event.namespace, event.name, event.code)
    };
    events.iter().map(line).collect()
}

/// The number of requests by verb and target, such as `("patch", "rolebindings.rbac.authorization.k8s.io")`.
pub fn counts(events: &[Event]) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry((event.verb.clone(), event.target())).or_default() += 1;
    }
    counts
}

/// The objects that were made more often than they were deleted and made once: an answer that nobody heard must not lead to a second one.
pub fn made_twice(events: &[Event]) -> Vec<String> {
    let mut made: BTreeMap<_, i32> = BTreeMap::new();
    for event in events.iter().filter(|event| event.code < 300 && event.subresource.is_empty() && event.resource != "events") {
        match event.verb.as_str() {
            "create" => {
                assert!(!event.name.is_empty(), "{event:?}");
                *made.entry(event.object()).or_default() += 1;
            }
            "delete" => *made.entry(event.object()).or_default() -= 1,
            _ => {}
        }
    }
    made.into_iter().filter(|(_, count)| *count > 1).map(|(object, count)| format!("{object:?} ({count})")).collect()
}

/// The ServiceAccounts for which a token was issued more than once.
pub fn tokens_twice(events: &[Event]) -> Vec<String> {
    let mut issued: BTreeMap<&String, usize> = BTreeMap::new();
    for event in events.iter().filter(|event| event.subresource == "token" && event.code < 300) {
        *issued.entry(&event.name).or_default() += 1;
    }
    issued.into_iter().filter(|(_, count)| *count > 1).map(|(name, count)| format!("{name} ({count})")).collect()
}

/// Reads one line. A watch is written when it starts, and again when it ends: the second is left out. So are other people's Secrets, which are written for
/// `hack/no-secrets` only.
fn event(line: &str) -> Option<Event> {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in the audit log: {line}"));
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let verb = text("/verb");
    let groups = value.pointer("/user/groups").and_then(Value::as_array).into_iter().flatten();
    let ours = text("/user/username") == OPERATOR || groups.into_iter().any(|group| group == IDENTITIES);
    let stage = if verb == "watch" { "ResponseStarted" } else { "ResponseComplete" };
    (ours && value["stage"] == stage).then(|| Event {
        user: text("/user/username"),
        verb,
        group: text("/objectRef/apiGroup"),
        resource: text("/objectRef/resource"),
        subresource: text("/objectRef/subresource"),
        namespace: text("/objectRef/namespace"),
        name: text("/objectRef/name"),
        code: value.pointer("/responseStatus/code").and_then(Value::as_u64).and_then(|code| code.try_into().ok()).unwrap_or_default(),
        body: value.get("requestObject").cloned().map(Arc::new),
        uri: text("/requestURI"),
        credential: text("/user/extra/authentication.kubernetes.io~1credential-id/0"),
        received: text("/requestReceivedTimestamp"),
        answered: text("/stageTimestamp"),
    })
}
