//! The rows about people who have settled: what an edit of a Role costs, how soon somebody new has everything while all others are looked at again, what a restart
//! and rest cost, and how much memory all of them take.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Client;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use usher::api::{Developer, Role};

use crate::leaving::percentile;
use crate::opened::Opened;
use crate::people::{self, SHARED};
use crate::support::access::{Subject, can};
use crate::support::audit::{Audit, Event};
use crate::support::client::ready;
use crate::support::operator::Operator;
use crate::support::scrape::Scrape;
use crate::support::usage;
use crate::support::{AuditLevel, ControlPlane};
use crate::table::Row;

/// DESIGN.md, "Numbers".
const MUST_EDIT_MS: f64 = 250.0;
const MUST_MOVE_MS: f64 = 2_000.0;
const MUST_NEWCOMER_MS: f64 = 2_000.0;
const MUST_RESTART_S: f64 = 10.0;
const MUST_MEMORY_MIB: f64 = 100.0;
/// How often each is tried.
const EDITS: usize = 30;
const MOVES: usize = 4;
const NEWCOMERS: usize = 20;
const RESTARTS: usize = 3;
/// The operator has settled when it has written nothing for so long.
const QUIET: Duration = Duration::from_secs(5);
/// How long rest is watched, for many people and for a quick look.
const REST: Duration = Duration::from_mins(10);
const SHORT_REST: Duration = Duration::from_mins(1);
const GIVE_UP: Duration = Duration::from_mins(2);
/// The pause between two questions about what nobody may lack, which must not take the API server's time from the move.
const ASK_AGAIN: Duration = Duration::from_millis(5);
/// The pause between two lists of hundreds of bindings, which would keep the API server from the move itself.
const ASK_FOR_ALL: Duration = Duration::from_millis(50);
/// Who holds Role A and no other, so that what it gives is seen by her.
const WITNESS: &str = "witness";

/// A control plane with an operator and people who have all they should.
pub struct House {
    pub operator: Operator,
    pub plane: ControlPlane,
    pub admin: Client,
    people: usize,
}

/// Measures them, one after another, on one control plane.
pub async fn measure(people: usize) -> Vec<Row> {
    let mut house = House::with(people).await;
    let mut rows = house.edits().await;
    rows.extend(house.moves().await);
    rows.extend(house.newcomers().await);
    rows.extend(house.restarts().await);
    rows.push(house.rest().await);
    rows.push(house.memory());
    let House { operator, plane, .. } = house;
    drop(operator);
    plane.stop().await;
    rows
}

impl House {
    pub async fn with(people: usize) -> Self {
        eprintln!("settled: a control plane, the chart, the operator and {people} people");
        let Opened { operator, plane, admin, .. } = Opened::shared(AuditLevel::Metadata, &[]).await;
        let pid = operator.process();
        tokio::join!(people::all_ready(&admin, people, "settled", || usage::runs(pid)), people::declare(&admin, 0..people, |_| {}));
        declare(&admin, WITNESS).await;
        ready(&admin, WITNESS).await;
        let house = Self { operator, plane, admin, people };
        house.quiet().await;
        house
    }

    /// Waits until the operator has nothing left to write.
    async fn quiet(&self) {
        Audit::from_now(&self.plane).still(QUIET).await;
    }

    async fn witness(&self) -> Subject {
        let developer = ready(&self.admin, WITNESS).await;
        let identity = developer.data["status"]["identities"][0]["name"].as_str().expect("an identity").to_owned();
        Subject::service_account("usher-identities", &identity)
    }

    /// Edits Role A.
    async fn edit(&self, spec: Value) {
        let api: Api<Role> = Api::all(self.admin.clone());
        api.patch("a", &PatchParams::default(), &Patch::Merge(json!({"spec": spec}))).await.expect("the Role is edited");
    }

    /// Rules of a Role are edited again and again: each time one ClusterRole is written, whatever the number of holders.
    async fn edits(&self) -> Vec<Row> {
        eprintln!("  the rules of a Role are edited, {EDITS} times");
        let witness = self.witness().await;
        let place = people::shared_namespaces().pop();
        let rules = |edit: usize| json!([{"apiGroups": ["example.com"], "resources": [format!("widgets{edit}")], "verbs": ["get"]}]);
        let work = json!({"name": "work", "environments": SHARED, "clusterRoles": ["view"]});
        let access = |edit: usize| json!({"access": [work, {"name": "more", "environments": SHARED, "rules": rules(edit)}]});
        self.edit(access(0)).await;
        self.quiet().await;
        let (audit, mut times) = (Audit::from_now(&self.plane), Vec::new());
        for edit in 1..=EDITS {
            let since = Instant::now();
            self.edit(access(edit)).await;
            let resource = format!("widgets{edit}.example.com");
            until(since, "what was edited is in force", async || can(&self.admin, &witness, "get", &resource, place.as_deref()).await)
                .await;
            times.push(since.elapsed().as_secs_f64() * 1_000.0);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let writes = audit.still(QUIET).await;
        self.edit(json!({"access": [work]})).await;
        self.quiet().await;
        let of = |group: &str| writes.iter().filter(|event| event.group == group).count() as f64 / EDITS as f64;
        vec![
            Row::note(format!("A Role's rules edited, {} holders: p50, ms", self.people), percentile(&times, 0.5)),
            Row::below(format!("A Role's rules edited, {} holders: p99, ms", self.people), percentile(&times, 0.99), MUST_EDIT_MS),
            Row::most("writes of RBAC an edit of rules", of("rbac.authorization.k8s.io"), 1.0),
            Row::most("revisions an edit of rules", of("apps"), 1.0),
        ]
    }

    /// A Role gives another ClusterRole: old bindings go when the new ones are there, and nobody is without either for a moment.
    async fn moves(&self) -> Vec<Row> {
        eprintln!("  a Role is moved to another ClusterRole, {MOVES} times");
        let (mut times, mut writes) = (Vec::new(), 0.0_f64);
        let bound = people::shared_bindings_of(&self.admin, "a").await * 2;
        for turn in 0..MOVES {
            let (from, to) = if turn % 2 == 0 { ("view", "edit") } else { ("edit", "view") };
            let audit = Audit::from_now(&self.plane);
            times.push(self.moved(from, to).await);
            let written = audit.still(QUIET).await;
            writes = writes.max(written.iter().filter(|event| event.group == "rbac.authorization.k8s.io").count() as f64);
        }
        vec![
            Row::note(format!("A Role moved to another ClusterRole, {} holders: median, ms", self.people), percentile(&times, 0.5)),
            Row::below(
                format!("A Role moved to another ClusterRole, {} holders: worst, ms", self.people),
                percentile(&times, 1.0),
                MUST_MOVE_MS,
            ),
            Row::at_most("writes of RBAC a move, vs a binding made and one removed for each", writes, bound as f64, 1.0),
        ]
    }

    /// Moves Role A and waits until only the new ClusterRole is given, in milliseconds. All the while its holder is asked about in every namespace.
    async fn moved(&self, from: &str, to: &str) -> f64 {
        let witness = self.witness().await;
        let places = people::shared_namespaces();
        let (api, of_role): (Api<RoleBinding>, _) = (Api::all(self.admin.clone()), ListParams::default().labels("usher.dev/role=a"));
        // What names everybody is long: to ask for all of it again and again would take the API server more than the move itself.
        let names = async || -> BTreeSet<_> {
            let list = api.list_metadata(&of_role).await.expect("a list");
            list.items.into_iter().map(|binding| (binding.metadata.namespace, binding.metadata.name)).collect()
        };
        let before = names().await;
        let since = Instant::now();
        let done = async {
            self.edit(json!({"access": [{"name": "work", "environments": SHARED, "clusterRoles": [to]}]})).await;
            until_after(ASK_FOR_ALL, since, "the Role is moved", async || {
                let now = names().await;
                now.len() == before.len() && now.is_disjoint(&before)
            })
            .await;
            let took = since.elapsed().as_secs_f64() * 1_000.0;
            let list = api.list(&of_role).await.expect("a list");
            assert!(list.items.iter().all(|binding| binding.role_ref.name == to), "only {to} is given, and {from} no more");
            took
        };
        let watched = async {
            loop {
                for place in &places {
                    assert!(can(&self.admin, &witness, "get", "pods", Some(place)).await, "both give this, and it was missing in {place}");
                    assert!(
                        !can(&self.admin, &witness, "create", "rolebindings.rbac.authorization.k8s.io", Some(place)).await,
                        "neither gives this"
                    );
                    tokio::time::sleep(ASK_AGAIN).await;
                }
            }
        };
        tokio::select! {
            took = done => took,
            never = watched => never,
        }
    }

    /// New people are declared while a Role is edited again and again, so that everybody is looked at again all the time.
    async fn newcomers(&self) -> Vec<Row> {
        eprintln!("  {NEWCOMERS} people come while all others are looked at again");
        let before = passes(&self.operator).await;
        let mut times = Vec::new();
        let come = async {
            for number in 0..NEWCOMERS {
                let (name, since) = (format!("new{number:03}"), Instant::now());
                declare(&self.admin, &name).await;
                let api: Api<Developer> = Api::all(self.admin.clone());
                until(since, "she is Ready", async || is_ready(&api.get(&name).await.expect("she is declared"))).await;
                times.push(since.elapsed().as_secs_f64() * 1_000.0);
            }
        };
        let disturb = async {
            for round in 0.. {
                self.edit(json!({"description": format!("round {round}")})).await;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        tokio::select! { () = come => {}, () = disturb => {} }
        let passes = passes(&self.operator).await - before;
        self.quiet().await;
        vec![
            Row::note(format!("New developer Ready while {} are looked at again: p50, ms", self.people), percentile(&times, 0.5)),
            Row::below(
                format!("New developer Ready while {} are looked at again: p99, ms", self.people),
                percentile(&times, 0.99),
                MUST_NEWCOMER_MS,
            ),
            Row::note("looks at each Developer meanwhile", passes / self.people as f64),
        ]
    }

    /// The operator is started again: how long until it has judged everybody, and what it writes.
    async fn restarts(&mut self) -> Vec<Row> {
        eprintln!("  the operator is started again, {RESTARTS} times");
        let (audit, mut times) = (Audit::from_now(&self.plane), Vec::new());
        for _ in 0..RESTARTS {
            times.push(judged_again(&mut self.operator, self.people).await);
        }
        let writes = audit.still(QUIET).await;
        unexpected(&writes);
        vec![
            Row::below(
                format!("Restart with {} developers, all judged again: worst of {RESTARTS}, s", self.people),
                percentile(&times, 1.0),
                MUST_RESTART_S,
            ),
            Row::most("writes after a restart", writes.len() as f64, 0.0),
        ]
    }

    /// Nothing happens for a while.
    async fn rest(&self) -> Row {
        let period = if self.people >= 2_000 { REST } else { SHORT_REST };
        eprintln!("  nothing happens for {} s", period.as_secs());
        let audit = Audit::from_now(&self.plane);
        tokio::time::sleep(period).await;
        let writes = audit.writes();
        unexpected(&writes);
        Row::most(format!("writes while nothing happens for {} s", period.as_secs()), writes.len() as f64, 0.0)
    }

    /// The most that this operator, which was started last, has had so far.
    fn memory(&self) -> Row {
        let what = format!("peak memory of the operator with {} developers, MiB", self.people);
        Row::most(what, usage::peak_mib(self.operator.process()), MUST_MEMORY_MIB)
    }
}

/// Starts the operator again. Returns how long it takes until it has judged everybody, in seconds.
pub async fn judged_again(operator: &mut Operator, people: usize) -> f64 {
    operator.terminate().await;
    let since = Instant::now();
    operator.restart().await;
    until(since, "everybody is judged", async || passes(operator).await >= people as f64).await;
    since.elapsed().as_secs_f64()
}

/// How often the operator that runs has looked at a Developer.
async fn passes(operator: &Operator) -> f64 {
    let Ok(scrape) = Scrape::of(operator).await else { return 0.0 };
    scrape.value("usher_reconciles_total", &[("kind", "Developer")]).unwrap_or_default()
}

/// Declares somebody who is in the team that holds Role A, and in no other.
async fn declare(client: &Client, name: &str) {
    let spec = json!({"email": format!("{name}@example.com"), "teams": ["all"]});
    let developer = Developer::new(name, serde_json::from_value(spec).expect("a spec"));
    Api::<Developer>::all(client.clone()).create(&PostParams::default(), &developer).await.expect("she is declared");
}

fn is_ready(developer: &Developer) -> bool {
    let status = developer.status.as_ref();
    status.is_some_and(|status| status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"))
}

/// Asks again and again until it is so. What is measured must not be stretched by pauses.
async fn until(since: Instant, what: &str, so: impl AsyncFn() -> bool) {
    until_after(Duration::from_millis(2), since, what, so).await;
}

/// The same with a pause of its own, for a question that is much work to answer.
async fn until_after(pause: Duration, since: Instant, what: &str, so: impl AsyncFn() -> bool) {
    while !so().await {
        assert!(since.elapsed() < GIVE_UP, "after {GIVE_UP:?} still not: {what}");
        tokio::time::sleep(pause).await;
    }
}

/// Shows what should not have been written.
fn unexpected(writes: &[Event]) {
    for event in writes.iter().take(10) {
        eprintln!("  written: {} {} {}/{}", event.verb, event.target(), event.namespace, event.name);
    }
}
