//! Who may do what, asked of the API server.

use std::cell::Cell as Slot;
use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};

use super::client::explain;
use super::wait_until;

/// How many questions are asked at once: enough to keep the API server busy, too few to starve the operator under test.
const AT_ONCE: usize = 16;
/// How long access has to stay exact once it is.
const STAYS: Duration = Duration::from_millis(200);
/// Long enough for any edit on a busy machine.
const SOON: Duration = Duration::from_mins(1);

/// Somebody whom the API server knows.
#[derive(Clone, Debug)]
pub struct Subject {
    user: String,
    groups: Vec<String>,
}

impl Subject {
    /// A user of the cluster's authenticator.
    pub fn user(name: &str) -> Self {
        Self { user: name.to_owned(), groups: vec!["system:authenticated".to_owned()] }
    }

    /// A ServiceAccount, with the groups that its tokens carry.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        Self {
            user: format!("system:serviceaccount:{namespace}:{name}"),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
        }
    }
}

/// Asks whether `subject` may. A resource is written as in RBAC with its group behind a dot: `pods/log`, `deployments.apps`. Without a namespace: cluster-wide.
pub async fn can(client: &Client, subject: &Subject, verb: &str, resource: &str, namespace: Option<&str>) -> bool {
    let (path, group) = resource.split_once('.').unwrap_or((resource, ""));
    let (kind, subresource) = path.split_once('/').map_or((path, None), |(kind, sub)| (kind, Some(sub.to_owned())));
    let attributes = ResourceAttributes {
        verb: Some(verb.to_owned()),
        group: Some(group.to_owned()),
        resource: Some(kind.to_owned()),
        subresource,
        namespace: namespace.map(str::to_owned),
        ..ResourceAttributes::default()
    };
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(subject.user.clone()),
            groups: Some(subject.groups.clone()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let api = Api::<SubjectAccessReview>::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
    answer.status.expect("an answer").allowed
}

/// One thing that somebody may do somewhere.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// Who, by the test's own word.
    pub person: String,
    /// The namespace; empty for the whole cluster.
    pub namespace: String,
    /// Verb and resource, such as `create pods/exec` or `get deployments.apps`.
    pub probe: String,
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.namespace.is_empty() { "the whole cluster" } else { &self.namespace };
        write!(f, "{}: {} in {place}", self.person, self.probe)
    }
}

/// Everything that is allowed, of what was asked.
pub type Matrix = BTreeSet<Cell>;

/// What a matrix asks: each person × namespace × probe.
#[derive(Clone, Debug, Default)]
pub struct Questions {
    people: Vec<(String, Subject)>,
    namespaces: Vec<String>,
    probes: Vec<String>,
}

impl Questions {
    /// The people by the test's words for them; namespaces, of which an empty one means the whole cluster; and probes: `get pods`, `create pods/exec`.
    pub fn new(people: &[(&str, Subject)], namespaces: &[&str], probes: &[&str]) -> Self {
        Self {
            people: people.iter().map(|(name, subject)| ((*name).to_owned(), subject.clone())).collect(),
            namespaces: namespaces.iter().map(|&name| name.to_owned()).collect(),
            probes: probes.iter().map(|&probe| probe.to_owned()).collect(),
        }
    }

    /// The cells that a test expects: each person × namespace × probe named here. All of them have to be asked about.
    #[track_caller]
    pub fn cells(&self, people: &[&str], namespaces: &[&str], probes: &[&str]) -> Matrix {
        let known = people.iter().all(|&name| self.people.iter().any(|(person, _)| person == name))
            && namespaces.iter().all(|&name| self.namespaces.iter().any(|namespace| namespace == name))
            && probes.iter().all(|&name| self.probes.iter().any(|probe| probe == name));
        assert!(known, "{people:?}, {namespaces:?} or {probes:?} has something that nobody asks about");
        let mut cells = Matrix::new();
        for person in people {
            for namespace in namespaces {
                for probe in probes {
                    cells.insert(Cell { person: (*person).to_owned(), namespace: (*namespace).to_owned(), probe: (*probe).to_owned() });
                }
            }
        }
        cells
    }

    /// Asks everything, and gives what is allowed.
    pub async fn ask(&self, client: &Client) -> Matrix {
        let mut cells = Vec::new();
        for (person, subject) in &self.people {
            for namespace in &self.namespaces {
                cells.extend(self.probes.iter().map(|probe| (person, subject, namespace, probe)));
            }
        }
        let answers = stream::iter(cells).map(async |(person, subject, namespace, probe)| {
            let (verb, resource) = probe.split_once(' ').expect("a probe is a verb and a resource");
            let place = (!namespace.is_empty()).then_some(namespace.as_str());
            let allowed = can(client, subject, verb, resource, place).await;
            allowed.then(|| Cell { person: person.clone(), namespace: namespace.clone(), probe: probe.clone() })
        });
        answers.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await
    }

    /// Waits until exactly what is expected is allowed.
    pub async fn settle(&self, client: &Client, deadline: Duration, expected: &Matrix) {
        wait_until("access is exact", deadline, async || {
            let actual = self.ask(client).await;
            if actual == *expected { Ok(()) } else { Err(difference(&actual, expected)) }
        })
        .await;
    }
}

impl Questions {
    /// Asks without a pause from before `edit` is made until access is exactly `after`, and a little longer. All the time it has to be within before ∪ after and
    /// at least before ∩ after (DESIGN.md, promise 1). Says how often everything was asked while it changed.
    pub async fn follow(&self, client: &Client, what: &str, (before, after): (&Matrix, &Matrix), edit: impl Future<Output = ()>) -> usize {
        let (least, most) = (before & after, before | after);
        assert_matrix_eq(&self.ask(client).await, before);
        let made: Slot<Option<Instant>> = Slot::new(None);
        let editing = async {
            edit.await;
            made.set(Some(Instant::now()));
        };
        let watching = async {
            let (mut rounds, mut exact) = (0, None);
            loop {
                let edited = made.get();
                let seen = self.ask(client).await;
                assert!(least.is_subset(&seen), "{what}: a gap:{}", difference(&seen, &(&seen | &least)));
                assert!(seen.is_subset(&most), "{what}: an excess:{}", difference(&seen, &(&seen & &most)));
                rounds += usize::from(exact.is_none());
                let Some(edited) = edited else { continue };
                if seen == *after {
                    let since: &mut Instant = exact.get_or_insert_with(Instant::now);
                    if since.elapsed() > STAYS {
                        return rounds;
                    }
                } else {
                    assert!(exact.is_none(), "{what}: no longer exact:{}", difference(&seen, after));
                    assert!(edited.elapsed() < SOON, "{what}: still not exact:{}", difference(&seen, after));
                }
            }
        };
        tokio::join!(editing, watching).1
    }
}

/// Fails with the cells that differ, and no others.
#[track_caller]
pub fn assert_matrix_eq(actual: &Matrix, expected: &Matrix) {
    assert!(actual == expected, "access is not exact: {}", difference(actual, expected));
}

/// What is missing and what is too much, a line each.
pub fn difference(actual: &Matrix, expected: &Matrix) -> String {
    let missing = expected.difference(actual).map(|cell| format!("\n  missing  {cell:?}"));
    let excess = actual.difference(expected).map(|cell| format!("\n  excess   {cell:?}"));
    missing.chain(excess).collect()
}
