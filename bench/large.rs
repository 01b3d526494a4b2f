//! The rows of 10,000 people: what one of them costs beside what one of 1,000 costs, how much memory all of them take, and whether the API server answers others
//! as fast as in a cluster where nobody is declared.
//!
//! There are two populations. **wide**: 50 Roles in 200 shared namespaces, each Role in 20 of them; everybody holds the first Role and two others. **deep**: that of
//! all other rows, three Roles in 20 namespaces, so that each RoleBinding is as long as it gets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::rbac::v1::{RoleBinding, Subject};
use kube::Client;
use kube::api::{Api, ListParams, PostParams};
use serde_json::json;

use crate::leaving::percentile;
use crate::opened::{Opened, installed};
use crate::people::{self, HOME};
use crate::settled::{self, House};
use crate::support::access::{self, can};
use crate::support::audit::Audit;
use crate::support::client::namespace;
use crate::support::operator::Operator;
use crate::support::usage;
use crate::support::{AuditLevel, ControlPlane};
use crate::table::Row;

const ROLES: usize = 50;
const NAMESPACES: usize = 200;
/// The namespaces are divided into so many areas, and each Role is given in one of them.
const AREAS: usize = 10;
const SHARED: &str = "shared";
/// What the cost of one of many is compared with.
const FEW: usize = 1_000;
/// The operator has settled when it has written nothing for so long.
const QUIET: Duration = Duration::from_secs(5);
/// DESIGN.md, "Numbers".
const MUST_COST: f64 = 1.2;
const MUST_ANSWER: f64 = 1.2;
const MUST_MEMORY_MIB: f64 = 200.0;
/// How many subjects a binding has that is made by hand.
const BY_HAND: usize = 500;

/// Measures what depends on the number of people.
pub async fn measure(people: usize) -> Vec<Row> {
    let few = Town::with(FEW).await;
    let cost_of_few = few.cost();
    few.end().await;
    let mut many = Town::with(people).await;
    let cost = many.cost();
    let mut rows = vec![
        Row::at_most(
            format!("writes a developer, {people} in {NAMESPACES} namespaces, vs {FEW}"),
            cost.writes,
            cost_of_few.writes,
            MUST_COST,
        ),
        Row::at_most(format!("CPU of the operator a developer, ms, {people} vs {FEW}"), cost.cpu_ms, cost_of_few.cpu_ms, MUST_COST),
        Row::beside(format!("CPU of the API server a developer, ms, {people} vs {FEW}"), cost.server_ms, cost_of_few.server_ms),
        Row::note(format!("{people} developers Ready, s"), many.seconds),
        Row::note("peak memory of the operator meanwhile, MiB", many.peak_mib),
    ];
    rows.extend(started_again("wide", people, &mut many.operator).await);
    let empty = Bare::start(prepare(&shared_namespaces())).await;
    let (here, none) = empty.beside(&many.admin, &shared_namespaces()).await;
    rows.push(Row::at_most(answers("wide", people, "none"), here, none, MUST_ANSWER));
    many.end().await;

    eprintln!("large: the same with three Roles in 20 namespaces");
    let mut house = House::with(people).await;
    rows.push(Row::note("peak memory of the operator meanwhile, deep, MiB", usage::peak_mib(house.operator.process())));
    rows.extend(started_again("deep", people, &mut house.operator).await);
    let places = people::shared_namespaces();
    let empty = Bare::start(async |client: &Client| people::prepare(client).await).await;
    let (here, none) = empty.beside(&house.admin, &places).await;
    rows.push(Row::beside(answers("deep", people, "none"), here, none));
    let by_hand = Bare::start(async |client: &Client| {
        people::prepare(client).await;
        bind_by_hand(&house.admin, client, &places).await;
    });
    let (here, by_hand) = by_hand.await.beside(&house.admin, &places).await;
    rows.push(Row::at_most(answers("deep", people, "as many bound by hand"), here, by_hand, MUST_ANSWER));
    let House { operator, plane, .. } = house;
    drop(operator);
    plane.stop().await;
    rows
}

/// A control plane in which everybody has what they should.
struct Town {
    operator: Operator,
    plane: ControlPlane,
    admin: Client,
    people: usize,
    seconds: f64,
    writes: usize,
    cpu: f64,
    server_cpu: f64,
    peak_mib: f64,
}

/// What one person costs.
struct Cost {
    writes: f64,
    cpu_ms: f64,
    server_ms: f64,
}

impl Town {
    async fn with(people: usize) -> Self {
        eprintln!("large: a control plane, the chart, the operator, {ROLES} Roles, {NAMESPACES} namespaces and {people} people");
        let Opened { operator, plane, admin, .. } = Opened::with(AuditLevel::Metadata, &[]).await;
        prepare(&shared_namespaces())(&admin).await;
        people::all_taken_in(&admin, "Role", (0..ROLES).map(role)).await;
        people::all_taken_in(&admin, "Binding", (0..ROLES).map(role)).await;
        let (audit, [server, _], pid) = (Audit::from_now(&plane), plane.pids(), operator.process());
        let (before, since) = ((usage::cpu_seconds(pid), usage::cpu_seconds(server)), Instant::now());
        tokio::join!(people::all_ready(&admin, people, "large", || usage::runs(pid)), people::declare_in(&admin, 0..people, teams, |_| {}));
        let seconds = since.elapsed().as_secs_f64();
        let writes = audit.still(QUIET).await;
        let writes = writes.iter().filter(|event| event.resource != "events").count();
        let (cpu, server_cpu) = (usage::cpu_seconds(pid) - before.0, usage::cpu_seconds(server) - before.1);
        Self { operator, plane, admin, people, seconds, writes, cpu, server_cpu, peak_mib: usage::peak_mib(pid) }
    }

    fn cost(&self) -> Cost {
        let each = |total: f64| total / self.people as f64;
        Cost { writes: each(self.writes as f64), cpu_ms: each(self.cpu * 1_000.0), server_ms: each(self.server_cpu * 1_000.0) }
    }

    async fn end(self) {
        drop(self.operator);
        self.plane.stop().await;
    }
}

/// The operator is started again with everybody there: how long it takes to judge all of them, and the most memory that it has until then.
async fn started_again(what: &str, people: usize, operator: &mut Operator) -> [Row; 2] {
    let seconds = settled::judged_again(operator, people).await;
    tokio::time::sleep(QUIET).await;
    [
        Row::note(format!("Restart with {people} developers, {what}, all judged again, s"), seconds),
        Row::most(
            format!("peak memory of the operator with {people} developers, {what}, MiB"),
            usage::peak_mib(operator.process()),
            MUST_MEMORY_MIB,
        ),
    ]
}

/// A cluster with the same namespaces and without an operator.
struct Bare {
    plane: ControlPlane,
    client: Client,
}

impl Bare {
    async fn start(prepare: impl AsyncFnOnce(&Client)) -> Self {
        let (plane, _) = installed(AuditLevel::Metadata, &[]).await;
        let client = plane.admin_client().await;
        prepare(&client).await;
        Self { plane, client }
    }

    /// How long an API server takes to answer about somebody who has nothing to do with usher, and how long this one takes: medians, in ms.
    async fn beside(self, client: &Client, places: &[String]) -> (f64, f64) {
        const QUESTIONS: usize = 500;
        const ROUNDS: usize = 6;
        eprintln!("  how fast the API server answers about others, here and without usher");
        let (mut here, mut there) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let of_both = [(client, &mut here), (&self.client, &mut there)];
            for (client, times) in of_both {
                let asked = questions(client, places, QUESTIONS).await;
                // The first round warms both up.
                times.extend(if round > 0 { asked } else { Vec::new() });
            }
        }
        self.plane.stop().await;
        (percentile(&here, 0.5), percentile(&there, 0.5))
    }
}

fn answers(what: &str, people: usize, baseline: &str) -> String {
    format!("SubjectAccessReview of somebody else with {people} developers, {what}, p50, ms, vs {baseline}")
}

/// Names everybody whom usher's bindings name in these namespaces in bindings of a hand, [`BY_HAND`] in each.
async fn bind_by_hand(from: &Client, to: &Client, places: &[String]) {
    for place in places {
        let mut people: BTreeMap<String, Vec<Subject>> = BTreeMap::new();
        let found = Api::<RoleBinding>::namespaced(from.clone(), place).list(&ListParams::default()).await.expect("a list");
        for binding in found {
            people.entry(binding.role_ref.name).or_default().extend(binding.subjects.unwrap_or_default());
        }
        for (role, subjects) in people {
            for (number, subjects) in subjects.chunks(BY_HAND).enumerate() {
                let role_ref = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role});
                let binding = json!({"metadata": {"name": format!("{role}-{number}")}, "roleRef": role_ref, "subjects": subjects});
                let binding: RoleBinding = serde_json::from_value(binding).expect("a RoleBinding");
                Api::namespaced(to.clone(), place).create(&PostParams::default(), &binding).await.expect("it is made");
            }
        }
    }
}

async fn questions(client: &Client, places: &[String], count: usize) -> Vec<f64> {
    let stranger = access::Subject::user("stranger@example.com");
    let mut times = Vec::new();
    for place in places.iter().cycle().take(count) {
        let since = Instant::now();
        assert!(!can(client, &stranger, "get", "pods", Some(place)).await, "she has nothing to do with usher");
        times.push(since.elapsed().as_secs_f64() * 1_000.0);
    }
    times
}

/// Makes the Environments with their namespaces, Roles and Bindings.
fn prepare(namespaces: &[String]) -> impl AsyncFn(&Client) {
    async move |client: &Client| {
        people::served(client).await;
        for (number, name) in namespaces.iter().enumerate() {
            namespace(client, name, &[("env", SHARED), ("area", &(number % AREAS).to_string())]).await;
        }
        people::declare_one(client, "Environment", SHARED, &json!({"namespaces": {"matchLabels": {"env": SHARED}}})).await;
        people::declare_one(client, "Environment", HOME, &json!({"home": true, "workspace": {}})).await;
        for number in 0..ROLES {
            let area = json!({"matchLabels": {"area": (number % AREAS).to_string()}});
            let entry = json!({"name": "work", "environments": [SHARED], "namespaces": area, "clusterRoles": ["view"]});
            people::declare_one(client, "Role", &role(number), &json!({"access": [entry]})).await;
            people::declare_one(client, "Binding", &role(number), &json!({"role": role(number), "teams": [role(number)]})).await;
        }
    }
}

fn shared_namespaces() -> Vec<String> {
    (0..NAMESPACES).map(|number| format!("{SHARED}-{number:03}")).collect()
}

/// A Role, its Binding, and the team that holds it.
fn role(number: usize) -> String {
    format!("role{number:02}")
}

/// The teams of somebody: that of all, and two others.
fn teams(person: usize) -> Vec<String> {
    let others = ROLES - 1;
    let (one, other) = (person % others, (person * 5 + 3) % others);
    let mut teams: Vec<String> = [0, 1 + one, 1 + other].map(role).into();
    teams.dedup();
    teams
}
