//! The operator is killed again and again in the midst of its work, and nothing is lost, doubled or left over (DESIGN.md, promises 1, 4 and 6).
//!
//! People, Roles and Bindings come, change and go all the while, by dice whose seed is printed. A model of a dozen lines says what everybody may do in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::api::{Api, DeleteParams, DynamicObject};
use kube::{Client, Resource, ResourceExt};
use serde_json::{Value, json};

use crate::support::access::{Matrix, Questions, Subject};
use crate::support::audit::Audit;
use crate::support::client::{self, explain, kind};
use crate::support::dice::Dice;
use crate::support::fleet::{list, object, put};
use crate::support::install::{Install, PATIENT};
use crate::support::operator::Operator;
use crate::support::{AuditLevel, ControlPlane, wait_until};

const KILLS: u64 = 20;
const PEOPLE: usize = 12;
const NAMESPACES: [&str; 4] = ["shop-dev", "bank-dev", "shop-prod", "bank-prod"];
/// What the Roles are made of, with the one thing that only it gives.
const PARTS: [(&str, &str); 3] = [("view", "get pods"), ("edit", "create configmaps"), ("rules", "get widgets.example.com")];
const SOON: Duration = Duration::from_mins(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Active,
    Suspended,
}

/// What was written last.
struct Model {
    people: Vec<State>,
    /// By Role, the numbers of its parts and whether it is for prod too; none if the Role does not exist.
    roles: BTreeMap<&'static str, Option<(BTreeSet<usize>, bool)>>,
    /// By Binding, its Role and its people; none if it does not exist.
    bindings: BTreeMap<&'static str, Option<(&'static str, BTreeSet<usize>)>>,
}

const ROLES: [&str; 3] = ["red", "green", "blue"];
const BINDINGS: [&str; 4] = ["north", "east", "south", "west"];

fn person(number: usize) -> String {
    format!("p{number:02}")
}

impl Model {
    fn new() -> Self {
        Self {
            people: vec![State::Absent; PEOPLE],
            roles: ROLES.into_iter().map(|name| (name, None)).collect(),
            bindings: BINDINGS.into_iter().map(|name| (name, None)).collect(),
        }
    }

    /// One write by dice. What still is on its way out cannot be made again, and is left for another time.
    async fn step(&mut self, client: &Client, dice: &mut Dice) {
        match dice.roll(10) {
            0..5 => self.person(client, dice).await,
            5..7 => self.role(client, dice).await,
            _ => self.binding(client, dice).await,
        }
    }

    async fn person(&mut self, client: &Client, dice: &mut Dice) {
        let number = dice.roll(PEOPLE);
        let next = match (self.people[number], dice.roll(4)) {
            (State::Absent, _) | (State::Suspended, 0..3) => State::Active,
            (State::Active, 0..2) => State::Suspended,
            _ => State::Absent,
        };
        // The same person comes back: her workspace is hers again.
        let state = if next == State::Suspended { "Suspended" } else { "Active" };
        let spec = json!({"email": format!("{}@example.com", person(number)), "personId": person(number), "state": state});
        if write(client, object("Developer", &person(number), &spec), next != State::Absent).await {
            self.people[number] = next;
        }
    }

    async fn role(&mut self, client: &Client, dice: &mut Dice) {
        let name = ROLES[dice.roll(ROLES.len())];
        let next = (dice.roll(5) > 0).then(|| ((0..PARTS.len()).filter(|_| dice.coin()).collect::<BTreeSet<_>>(), dice.coin()));
        let manifest = role(name, next.as_ref());
        if write(client, manifest, next.is_some()).await {
            self.roles.insert(name, next);
        }
    }

    async fn binding(&mut self, client: &Client, dice: &mut Dice) {
        let name = BINDINGS[dice.roll(BINDINGS.len())];
        let role = ROLES[dice.roll(ROLES.len())];
        let mut people: BTreeSet<usize> = (0..PEOPLE).filter(|_| dice.coin()).collect();
        people.insert(dice.roll(PEOPLE));
        let next = (dice.roll(4) > 0).then_some((role, people));
        if write(client, binding(name, next.as_ref()), next.is_some()).await {
            self.bindings.insert(name, next);
        }
    }

    /// The Roles that somebody holds and that give something.
    fn held(&self, number: usize) -> BTreeSet<&'static str> {
        if self.people[number] != State::Active {
            return BTreeSet::new();
        }
        let bound = self.bindings.values().flatten().filter(|(_, people)| people.contains(&number));
        bound.map(|(role, _)| *role).filter(|role| self.roles[role].as_ref().is_some_and(|(parts, _)| !parts.is_empty())).collect()
    }

    fn expected(&self, questions: &Questions, number: usize) -> Matrix {
        let name = person(number);
        let mut cells = Matrix::new();
        for role in self.held(number) {
            let Some((parts, everywhere)) = &self.roles[role] else { continue };
            let places = if *everywhere { &NAMESPACES[..] } else { &NAMESPACES[..2] };
            for part in parts {
                cells.extend(questions.cells(&[&name], places, &[PARTS[*part].1]));
                if PARTS[*part].0 == "edit" {
                    cells.extend(questions.cells(&[&name], places, &["get pods"]));
                }
            }
        }
        if self.people[number] == State::Active {
            cells.extend(questions.cells(&[&name], &[&format!("dev-{name}")], &["get pods", "create configmaps"]));
        }
        cells
    }
}

fn role(name: &str, content: Option<&(BTreeSet<usize>, bool)>) -> DynamicObject {
    let (parts, everywhere) = content.cloned().unwrap_or_default();
    let environments = if everywhere { json!(["*"]) } else { json!(["dev"]) };
    let entry = |part: &usize| {
        let (word, _) = PARTS[*part];
        let rules = json!([{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]}]);
        match word {
            "rules" => json!({"name": word, "environments": environments, "rules": rules}),
            existing => json!({"name": word, "environments": environments, "clusterRoles": [existing]}),
        }
    };
    let access: Vec<_> = parts.iter().map(entry).collect();
    // Something besides, as server-side apply makes nothing of a spec whose only list gets empty.
    object("Role", name, &json!({"description": "by dice", "access": access}))
}

fn binding(name: &str, content: Option<&(&str, BTreeSet<usize>)>) -> DynamicObject {
    let (role, people) = content.cloned().unwrap_or(("red", BTreeSet::from([0])));
    object("Binding", name, &json!({"role": role, "developers": people.into_iter().map(person).collect::<Vec<_>>()}))
}

/// Makes an object, edits it or deletes it. Says whether that was done.
async fn write(client: &Client, manifest: DynamicObject, present: bool) -> bool {
    let api = kind(client, manifest.types.as_ref().map_or("", |types| &types.kind)).await;
    let found = api.get_opt(&manifest.name_any()).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
    match found {
        Some(found) if found.meta().deletion_timestamp.is_some() => false,
        Some(found) if !present => {
            api.delete(&found.name_any(), &DeleteParams::default()).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
            true
        }
        None if !present => false,
        _ => {
            put(client, manifest).await;
            true
        }
    }
}

async fn environments(client: &Client) {
    for (stage, names) in [("dev", &NAMESPACES[..2]), ("prod", &NAMESPACES[2..])] {
        for name in names {
            client::namespace(client, name, &[("stage", stage)]).await;
        }
        let mut spec = json!({"namespaces": {"matchLabels": {"stage": stage}}});
        if stage == "dev" {
            spec = json!({"namespaces": {"matchLabels": {"stage": stage}}, "home": true, "workspace": {}});
        }
        put(client, object("Environment", stage, &spec)).await;
    }
}

#[tokio::test]
async fn killed_twenty_times_in_the_midst_of_churn_it_ends_exact() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let client = plane.admin_client().await;
    let install = Install::new(&plane, &["environments.default=false", "starterRoles=false", PATIENT[0], PATIENT[1]]).await;
    environments(&client).await;
    // With a name of its own, as a container that is started again in its Pod has, it need not wait for the end of its own Lease.
    let mut operator = Operator::start_with(&install, &["--identity", "usher-0"]).await;
    operator.ready().await;

    let audit = Audit::from_now(&plane);
    let (mut model, mut dice, mut worked) = (Model::new(), Dice::new(), 0);
    for _ in 0..KILLS {
        let before = audit.writes().len();
        let steps = 3 + dice.roll(20);
        for _ in 0..steps {
            model.step(&client, &mut dice).await;
        }
        // Some are killed as they start, most in the midst of their work.
        let since = Instant::now();
        let patience = if dice.roll(4) == 0 { Duration::ZERO } else { Duration::from_secs(10) };
        while since.elapsed() < patience && audit.writes().len() == before {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        operator.restart().await;
        worked += usize::from(audit.writes().len() > before);
    }
    operator.ready().await;
    let writes = audit.still(Duration::from_secs(4)).await;
    println!("killed {KILLS} times, in {worked} of these lives it had written something; {} writes", writes.len());
    assert!(worked > 10, "it was killed before it did anything");

    exact(&client, &model).await;
    nothing_left(&client, &model).await;
    grants(&client, &model).await;
    plane.stop().await;
}

/// Everybody, by every name she was ever known by, may do what the model says and nothing else.
async fn exact(client: &Client, model: &Model) {
    let mut accounts: BTreeMap<usize, String> = BTreeMap::new();
    for number in (0..PEOPLE).filter(|number| model.people[*number] == State::Active) {
        let developer = client::ready(client, &person(number)).await;
        let account = developer.data["status"]["identities"][0]["name"].as_str().expect("an identity").to_owned();
        accounts.insert(number, account);
    }
    let names: Vec<String> = (0..PEOPLE).map(person).collect();
    let subject = |number: usize| match accounts.get(&number) {
        Some(account) => Subject::service_account("usher-identities", account),
        None => Subject::user("nobody"),
    };
    let people: Vec<(&str, Subject)> = names.iter().enumerate().map(|(number, name)| (name.as_str(), subject(number))).collect();
    let workspaces: Vec<String> = names.iter().map(|name| format!("dev-{name}")).collect();
    let places: Vec<&str> = NAMESPACES.into_iter().chain(workspaces.iter().map(String::as_str)).collect();
    let probes: Vec<&str> = PARTS.iter().map(|(_, probe)| *probe).collect();
    let questions = Questions::new(&people, &places, &probes);
    let expected: Matrix = (0..PEOPLE).flat_map(|number| model.expected(&questions, number)).collect();
    questions.settle(client, SOON, &expected).await;
}

/// No object waits for a finalizer; nobody has two namespaces; identities, credentials and bindings are those of active people only.
async fn nothing_left(client: &Client, model: &Model) {
    let with =
        |state: &[State]| -> BTreeSet<String> { (0..PEOPLE).filter(|number| state.contains(&model.people[*number])).map(person).collect() };
    let names = async |wanted: &str| -> BTreeSet<String> {
        let objects = list::<DynamicObject>(kind(client, wanted).await).await;
        objects.iter().for_each(|object| assert!(object.metadata.deletion_timestamp.is_none(), "{wanted} {} waits", object.name_any()));
        objects.iter().map(ResourceExt::name_any).collect()
    };
    assert_eq!(names("Developer").await, with(&[State::Active, State::Suspended]));
    assert_eq!(names("Role").await, existing(&model.roles));
    assert_eq!(names("Binding").await, existing(&model.bindings));

    let mut owners: Vec<String> = labelled(&list::<Namespace>(Api::all(client.clone())).await, "usher.dev/workspace");
    let total = owners.len();
    owners.dedup();
    assert_eq!(owners.len(), total, "somebody has two workspaces: {owners:?}");
    let active = with(&[State::Active]);
    let accounts = list::<ServiceAccount>(Api::namespaced(client.clone(), "usher-identities")).await;
    assert_eq!(labelled(&accounts, "usher.dev/developer"), Vec::from_iter(active.clone()), "identities");
    let secrets = list::<Secret>(Api::all(client.clone())).await;
    assert_eq!(labelled(&secrets, "usher.dev/developer"), Vec::from_iter(active.clone()), "credentials");

    let bindings = list::<RoleBinding>(Api::all(client.clone())).await;
    let ours: Vec<_> = bindings.into_iter().filter(|binding| binding.name_any().starts_with("usher:")).collect();
    let empty: Vec<_> =
        ours.iter().filter(|binding| binding.subjects.as_ref().is_none_or(Vec::is_empty)).map(ResourceExt::name_any).collect();
    assert!(empty.is_empty(), "bindings of nobody: {empty:?}");
    let held: BTreeSet<String> = (0..PEOPLE).flat_map(|number| model.held(number)).map(str::to_owned).collect();
    assert_eq!(BTreeSet::from_iter(labelled(&ours, "usher.dev/role")), held, "bindings of Roles that nobody holds");
    let rules =
        model.roles.iter().filter(|(role, content)| held.contains(**role) && content.as_ref().is_some_and(|(parts, _)| parts.contains(&2)));
    let generated = labelled(&list::<ClusterRole>(Api::all(client.clone())).await, "usher.dev/role");
    assert_eq!(generated, rules.map(|(role, _)| (*role).to_owned()).collect::<Vec<_>>(), "generated ClusterRoles");
    assert!(labelled(&list::<ClusterRoleBinding>(Api::all(client.clone())).await, "usher.dev/role").is_empty());
}

/// One Active Grant for each Role that somebody holds, each of the Developer that is there now, and no other.
async fn grants(client: &Client, model: &Model) {
    let expected: Vec<String> =
        (0..PEOPLE).flat_map(|number| model.held(number).into_iter().map(move |role| format!("{} {role}", person(number)))).collect();
    let uids: BTreeMap<String, Option<String>> = list::<DynamicObject>(kind(client, "Developer").await)
        .await
        .iter()
        .map(|developer| (developer.name_any(), developer.uid()))
        .collect();
    wait_until("Grants say what is held", SOON, async || {
        let mut active = Vec::new();
        for grant in list::<DynamicObject>(kind(client, "Grant").await).await {
            let spec = &grant.data["spec"];
            let (name, role) = (spec["developer"]["name"].as_str().expect("a name"), spec["role"].as_str().expect("a Role"));
            if spec["state"] != "Active" {
                assert!(spec["ended"]["at"].is_string(), "{spec}");
                continue;
            }
            let present = uids.get(name).cloned().flatten().map(Value::from);
            active.push(if present.as_ref() == Some(&spec["developer"]["uid"]) {
                format!("{name} {role}")
            } else {
                format!("{name} {role}, of an earlier one")
            });
        }
        active.sort();
        if active == expected { Ok(()) } else { Err(format!("\n  active   {active:?}\n  expected {expected:?}")) }
    })
    .await;
}

fn existing<T>(objects: &BTreeMap<&'static str, Option<T>>) -> BTreeSet<String> {
    objects.iter().filter(|(_, content)| content.is_some()).map(|(name, _)| (*name).to_owned()).collect()
}

/// The values of a label, sorted.
fn labelled<K: ResourceExt>(objects: &[K], label: &str) -> Vec<String> {
    let mut values: Vec<_> = objects.iter().filter_map(|object| object.labels().get(label).cloned()).collect();
    values.sort();
    values
}
