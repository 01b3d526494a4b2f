//! The consistency index: every difference is told, where it is and of whom, and nothing else; and it goes when it is repaired.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::{ClusterRole, RoleBinding};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{ENVIRONMENTS, SHARED, SOON, Several};
use crate::support::client::{explain, kind, ready};
use crate::support::install::NAMESPACE;
use crate::support::people::{IDENTITIES, account, declare, developer, edit};
use crate::support::scrape::Scrape;
use crate::support::{Output, name, wait_until};

/// A ClusterRole that Roles may name and that nothing else needs there.
const CLUSTER_ROLE: &str = "usher-developer";

/// Ada and Bob hold a Role in all three clusters, and Bob another one in two.
struct Case {
    several: Several,
    ada: String,
    bob: String,
    role: String,
    other: String,
    /// Ada's ServiceAccount.
    account: String,
    /// How many cells each Environment has.
    cells: BTreeMap<&'static str, usize>,
}

/// What is wrong: the sort, the person, the Role and the Environment.
type Wrong<'a> = [&'a str; 4];

impl Case {
    async fn new() -> Self {
        let several = Several::take().await;
        let home = several.home();
        let [ada, bob, role, other] = ["ada", "bob", "role", "other"].map(name);
        let access = |environments: &[&str], cluster_role: &str| json!({"access": [{"name": "all", "environments": environments, "clusterRoles": [cluster_role]}]});
        declare(home, "Role", &role, access(&ENVIRONMENTS, "view")).await;
        declare(home, "Role", &other, access(&["dev", "staging"], CLUSTER_ROLE)).await;
        for person in [&ada, &bob] {
            developer(home, person, json!({})).await;
        }
        declare(home, "Binding", &role, json!({"role": role, "developers": [ada, bob]})).await;
        declare(home, "Binding", &other, json!({"role": other, "developers": [bob]})).await;
        let account = account(&ready(home, &ada).await);
        ready(home, &bob).await;
        let mut case = Self { several, ada, bob, role, other, account, cells: BTreeMap::new() };
        let found = case.settles(&[]).await;
        case.cells = ENVIRONMENTS.map(|name| (name, number(&found["environments"][name]["cells"]))).into();
        // Whoever else is there from other tests counts as well, and is right.
        assert!(case.cells["dev"] >= 3 && case.cells["staging"] >= 3 && case.cells["prod"] >= 2, "{found:#}");
        case
    }

    async fn asks(&self, more: &[&str]) -> Output {
        self.several.all.home.usher(&[&["consistency", "--namespace", NAMESPACE], more].concat()).await
    }

    async fn found(&self) -> Value {
        let said = self.asks(&["-o", "json"]).await;
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }

    /// Waits until the command names exactly these cells.
    async fn settles(&self, wrong: &[Wrong<'_>]) -> Value {
        wait_until("exactly the cells that differ are named", SOON, async || {
            let found = self.found().await;
            if named(&found["differences"], None) == sorted(wrong) { Ok(found) } else { Err(format!("{found:#}")) }
        })
        .await
    }

    /// Waits until each Environment tells its index and exactly these cells, and the metrics the same index.
    async fn told(&self, wrong: &[Wrong<'_>]) {
        let api = kind(self.several.home(), "Environment").await;
        for environment in ENVIRONMENTS {
            let here: Vec<Wrong<'_>> = wrong.iter().filter(|cell| cell[3] == environment).copied().collect();
            let index = percent(self.cells[environment] - here.len(), self.cells[environment]);
            wait_until(&format!("uenv/{environment} tells {index}"), SOON, async || {
                let status = api.get(environment).await.map_err(|error| explain(&error))?.data["status"].clone();
                let right = status["consistency"] == index && named(&status["differences"], Some(environment)) == sorted(&here);
                let operator = self.several.operator().await;
                // Right after a start it is not known.
                let ratio = Scrape::of(&operator).await?.value("usher_consistency_ratio", &[("environment", environment)]);
                let same = ratio.is_some_and(|ratio| percent_of(ratio) == index);
                if right && same { Ok(()) } else { Err(format!("{ratio:?} {} {}", status["consistency"], status["differences"])) }
            })
            .await;
        }
    }

    /// Everything is right again, and said to be.
    async fn repaired(&self) {
        let found = self.settles(&[]).await;
        assert_eq!(found["consistency"], "100%");
        self.told(&[]).await;
        self.asks(&[]).await.ok();
    }

    /// Takes away the binding of the Role in a cluster.
    async fn take(&self, client: &Client) {
        let api = Api::<RoleBinding>::namespaced(client.clone(), SHARED);
        let all = api.list(&ListParams::default().labels(&format!("usher.dev/role={}", self.role))).await.expect("a list").items;
        assert_eq!(all.len(), 1, "{all:?}");
        api.delete(all[0].metadata.name.as_deref().expect("a name"), &DeleteParams::default()).await.expect("an administrator may");
    }

    async fn pause(&self, environment: &str, paused: Value) {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"usher.dev/paused": paused}}}));
        let api = kind(self.several.home(), "Environment").await;
        api.patch(environment, &PatchParams::default(), &patch).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
    }

    /// The cells of the Role in an Environment.
    fn both<'a>(&'a self, sort: &'a str, environment: &'a str) -> [Wrong<'a>; 2] {
        [[sort, &self.ada, &self.role, environment], [sort, &self.bob, &self.role, environment]]
    }

    async fn a_binding_goes_while_usher_is_stopped(&self) {
        self.several.operator().await.terminate().await;
        self.take(&self.several.clients[1]).await;
        let found = self.settles(&self.both("Missing", "staging")).await;
        let (all, staging) = (self.cells.values().sum::<usize>(), self.cells["staging"]);
        assert_eq!((number(&found["right"]), number(&found["cells"])), (all - 2, all));
        assert_eq!(found["consistency"], percent(all - 2, all));
        assert_eq!(found["environments"]["staging"]["consistency"], percent(staging - 2, staging));
        let said = self.asks(&[]).await;
        assert_eq!(said.code, Some(1), "{said:?}");
        let line = format!("Missing {} {} staging nothing gives her ClusterRole view in namespace {SHARED}", self.ada, self.role);
        assert!(said.stdout.lines().any(|it| it.split_whitespace().eq(line.split(' '))), "{}", said.stdout);
        for (arguments, code) in [(["--threshold", "1"], 0), (["-e", "prod"], 0), (["-e", "staging"], 1), (["-e", "nowhere"], 2)] {
            assert_eq!(self.asks(&arguments).await.code, Some(code), "{arguments:?}");
        }
        let mut operator = self.several.operator().await;
        operator.restart().await;
        operator.ready().await;
    }

    async fn a_binding_goes_where_work_is_paused(&self) {
        self.pause("prod", json!("true")).await;
        self.several.environment("prod", "Ready", "False", "Paused").await;
        self.take(&self.several.clients[2]).await;
        self.told(&self.both("Missing", "prod")).await;
        self.pause("prod", json!(null)).await;
    }

    async fn an_administrator_adds_one(&self) {
        let extra = name("extra");
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": extra, "namespace": SHARED},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
            "subjects": [{"kind": "ServiceAccount", "name": self.account, "namespace": IDENTITIES}],
        });
        let api = Api::<RoleBinding>::namespaced(self.several.clients[2].clone(), SHARED);
        api.create(&PostParams::default(), &serde_json::from_value(binding).expect("a RoleBinding")).await.expect("an administrator may");
        let wrong = [["More", &self.ada, &self.role, "prod"]];
        self.told(&wrong).await;
        let found = self.settles(&wrong).await;
        let message = found["differences"][0]["message"].as_str().expect("words");
        assert_eq!(message, format!("RoleBinding {SHARED}/{extra}, which usher did not make, names her"));
        api.delete(&extra, &DeleteParams::default()).await.expect("an administrator may");
    }

    async fn a_cluster_role_is_missing(&self) {
        let api = Api::<ClusterRole>::all(self.several.clients[1].clone());
        let mut object = api.get(CLUSTER_ROLE).await.expect("it is there");
        api.delete(CLUSTER_ROLE, &DeleteParams::default()).await.expect("an administrator may");
        let wrong = [["Missing", &self.bob, &self.other, "staging"]];
        self.told(&wrong).await;
        let found = self.settles(&wrong).await;
        assert_eq!(found["differences"][0]["message"], format!("ClusterRole {CLUSTER_ROLE} does not exist there"));
        (object.metadata.resource_version, object.metadata.uid) = (None, None);
        api.create(&PostParams::default(), &object).await.expect("an administrator may");
    }

    async fn a_cluster_does_not_answer(&self) {
        let paused = self.several.staging().pause();
        let mut wrong = self.both("Unseen", "staging").to_vec();
        wrong.push(["Unseen", &self.bob, &self.other, "staging"]);
        self.told(&wrong).await;
        self.settles(&wrong).await;
        drop(paused);
    }
}

fn number(value: &Value) -> usize {
    value.as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or_else(|| panic!("{value} is no count"))
}

/// A percentage as it is told: rounded down to a tenth.
fn percent(right: usize, cells: usize) -> String {
    let tenths = right * 1000 / cells;
    if tenths.is_multiple_of(10) { format!("{}%", tenths / 10) } else { format!("{}.{}%", tenths / 10, tenths % 10) }
}

fn percent_of(ratio: f64) -> String {
    // What was divided before is a hair off.
    let tenths = ratio.mul_add(1000.0, 1e-6).floor();
    let (whole, tenth) = ((tenths / 10.0).floor(), tenths % 10.0);
    if tenth < 0.5 { format!("{whole}%") } else { format!("{whole}.{tenth}%") }
}

/// The cells that differ, of an Environment or as they are named.
fn named(differences: &Value, environment: Option<&str>) -> Vec<[String; 4]> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let cell = |it: &Value| {
        let place = environment.map_or_else(|| text(&it["environment"]), str::to_owned);
        [text(&it["kind"]), text(&it["developer"]), text(&it["role"]), place]
    };
    let mut all: Vec<_> = differences.as_array().into_iter().flatten().map(cell).collect();
    all.sort();
    all
}

fn sorted(wrong: &[Wrong<'_>]) -> Vec<[String; 4]> {
    let mut all: Vec<_> = wrong.iter().map(|cell| cell.map(str::to_owned)).collect();
    all.sort();
    all
}

#[tokio::test]
async fn forced_differences_are_told_exactly_and_are_gone_when_they_are_repaired() {
    let case = Case::new().await;
    case.repaired().await;
    case.a_binding_goes_while_usher_is_stopped().await;
    case.repaired().await;
    case.a_binding_goes_where_work_is_paused().await;
    case.repaired().await;
    case.an_administrator_adds_one().await;
    case.repaired().await;
    case.a_cluster_role_is_missing().await;
    case.repaired().await;
    case.a_cluster_does_not_answer().await;
    case.repaired().await;
    for person in [&case.ada, &case.bob] {
        edit(case.several.home(), "Developer", person, json!({"state": "Departed"})).await;
    }
}
