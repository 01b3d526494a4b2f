//! One usher, three clusters: dev at home, staging and prod each on a control plane of its own.
//!
//! They are shared by these tests, which take turns: each leaves every cluster answering, and as it found it.

mod consistency;
mod edges;
mod everywhere;
mod hub;
mod live_plan;
mod page;
mod refused;
mod remote_rights;
mod silent;
mod starts;

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::support::access::Questions;
use crate::support::client::{self, condition, explain, kind, ready};
use crate::support::install::{Install, NAMESPACE, PATIENT};
use crate::support::operator::{LogOnFailure, Operator};
use crate::support::people::{declare, developer, edit, subject};
use crate::support::{AuditLevel, ControlPlane, bare, name, wait_until};

/// Long enough for anything that a busy machine does.
const SOON: Duration = Duration::from_mins(1);
/// What is asked about everybody.
const PROBES: [&str; 3] = ["get pods", "create configmaps", "get widgets.example.com"];
/// The shared namespace in each cluster, and who has workspaces where.
const SHARED: &str = "shop";
/// The Environments, each with a cluster of its own.
const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "prod"];

/// The Secret with the kubeconfig for prod, in usher's namespace at home.
const PROD_SECRET: &str = "prod-kubeconfig";

/// One of the clusters besides home.
struct Remote {
    plane: ControlPlane,
}

/// The clusters, and the operator in the first of them.
struct All {
    home: ControlPlane,
    install: Install,
    operator: Mutex<Operator>,
    remotes: [Remote; 2],
}

/// A test's turn to use them.
struct Several {
    all: &'static All,
    /// The administrator of each cluster, in the order of [`ENVIRONMENTS`].
    clients: [Client; 3],
    _log: LogOnFailure,
    _turn: MutexGuard<'static, ()>,
}

impl Remote {
    async fn new() -> Self {
        Self { plane: ControlPlane::sharing(bare().await, AuditLevel::Metadata).await }
    }

    /// The kubeconfig that the documented command makes.
    async fn kubeconfig(&self) -> String {
        self.plane.usher(&["remote", "kubeconfig", "--namespace", NAMESPACE]).await.ok()
    }

    fn api_server(&self) -> Pid {
        Pid::from_raw(self.plane.pids()[0]).expect("a process id")
    }

    /// Stops its API server as a machine that hangs does: connections stay, and nobody answers. Until what is returned is dropped.
    fn pause(&self) -> Paused {
        kill_process(self.api_server(), Signal::STOP).expect("it runs");
        Paused(self.api_server())
    }
}

/// An API server that hangs.
struct Paused(Pid);

impl Drop for Paused {
    fn drop(&mut self) {
        kill_process(self.0, Signal::CONT).expect("it is there");
    }
}

impl Several {
    async fn take() -> Self {
        static ALL: OnceCell<All> = OnceCell::const_new();
        static TURN: Mutex<()> = Mutex::const_new(());
        let turn = TURN.lock().await;
        let all = ALL.get_or_init(start).await;
        let planes = [&all.home, &all.remotes[0].plane, &all.remotes[1].plane];
        let clients = [planes[0].admin_client().await, planes[1].admin_client().await, planes[2].admin_client().await];
        let log = all.operator.lock().await.log_on_failure();
        Self { all, clients, _log: log, _turn: turn }
    }

    /// The operator, for as long as it is held.
    async fn operator(&self) -> MutexGuard<'_, Operator> {
        self.all.operator.lock().await
    }

    /// Lets the operator end and starts it again.
    async fn restart(&self) {
        let mut operator = self.operator().await;
        // One that was killed holds the Lease for a while.
        operator.terminate().await;
        operator.restart().await;
        operator.ready().await;
    }

    fn home(&self) -> &Client {
        &self.clients[0]
    }

    fn staging(&self) -> &Remote {
        &self.all.remotes[0]
    }

    fn prod(&self) -> &Remote {
        &self.all.remotes[1]
    }

    /// Somebody who holds a Role that gives [`FULL`], and has that everywhere: the names of the Role and of her, and she.
    async fn holder(&self) -> (String, String, DynamicObject) {
        let (role, person) = (name("role"), name("ada"));
        self.role(&role).await;
        developer(self.home(), &person, json!({})).await;
        declare(self.home(), "Binding", &role, json!({"role": role, "developers": [person]})).await;
        let ada = ready(self.home(), &person).await;
        self.settle(&ada, FULL).await;
        (role, person, ada)
    }

    /// Makes a Role that gives [`FULL`].
    async fn role(&self, name: &str) {
        declare(self.home(), "Role", name, full_access()).await;
    }

    /// Lets a Role give that, whatever it gave before.
    async fn give_all(&self, name: &str) {
        edit(self.home(), "Role", name, full_access()).await;
    }

    /// What somebody may do in the shared namespace of each cluster, by what she should: probes by Environment.
    async fn settle(&self, developer: &DynamicObject, expected: [&[&str]; 3]) {
        let known = subject(developer);
        let questions = Questions::new(&[("she", known)], &[SHARED], &PROBES);
        for (client, probes) in self.clients.iter().zip(expected) {
            questions.settle(client, SOON, &questions.cells(&["she"], &[SHARED], probes)).await;
        }
    }

    /// Waits until a condition of an Environment has a status and a reason, and gives its message.
    async fn environment(&self, name: &str, wanted: &str, status: &str, reason: &str) -> String {
        let api = kind(self.home(), "Environment").await;
        wait_until(&format!("{wanted} of uenv/{name} is {status} {reason}"), SOON, async || {
            let object = api.get(name).await.map_err(|error| explain(&error))?;
            let found = condition(&object, wanted).cloned().unwrap_or_default();
            let right = found["status"] == status && found["reason"] == reason;
            if right { Ok(found["message"].as_str().unwrap_or_default().to_owned()) } else { Err(object.data["status"].to_string()) }
        })
        .await
    }

    /// Waits until it is told of an Environment that it is not connected, for a reason and in words that have these among them.
    async fn refused(&self, name: &str, reason: &str, words: &str) {
        let api = kind(self.home(), "Environment").await;
        wait_until(&format!("of uenv/{name} is told: {reason} {words}"), SOON, async || {
            let object = api.get(name).await.map_err(|error| explain(&error))?;
            let found = condition(&object, "Connected").cloned().unwrap_or_default();
            let told = found["message"].as_str().is_some_and(|message| message.contains(words));
            if told && found["status"] == "False" && found["reason"] == reason { Ok(()) } else { Err(found.to_string()) }
        })
        .await;
    }

    /// Puts a text into a Secret of usher's namespace at home.
    async fn put_secret(&self, name: &str, kubeconfig: &str) {
        put_secret(self.home(), name, kubeconfig).await;
    }
}

/// Everything that a Role of [`Several::role`] gives.
const FULL: [&[&str]; 3] = [&["get pods", "create configmaps"], &PROBES, &["get pods"]];
const NOTHING: [&[&str]; 3] = [&[], &[], &[]];

/// What is edited in dev and staging is looked at in prod, and staging has rules of its own.
fn full_access() -> Value {
    let rule = json!({"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]});
    json!({"access": [
        {"name": "work", "environments": ["dev", "staging"], "clusterRoles": ["edit"]},
        {"name": "look", "environments": ["prod"], "clusterRoles": ["view"]},
        {"name": "own", "environments": ["staging"], "rules": [rule]},
    ]})
}

async fn put_secret(home: &Client, name: &str, kubeconfig: &str) {
    let api = Api::<Secret>::namespaced(home.clone(), NAMESPACE);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"kubeconfig": kubeconfig}});
    let parameters = PatchParams::apply(client::TEST).force();
    api.patch(name, &parameters, &Patch::Apply(&secret)).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
}

async fn start() -> All {
    let (home, staging, prod) =
        tokio::join!(async { ControlPlane::sharing(bare().await, AuditLevel::Metadata).await }, Remote::new(), Remote::new());
    let values = [PATIENT[0], PATIENT[1], "environments.default=false", "starterRoles=false", "offboarding.brake.maxRemovals=10000"];
    let install = Install::new(&home, &values).await;
    let operator = Operator::start(&install).await;
    operator.ready().await;
    let all = All { home, install, operator: Mutex::new(operator), remotes: [staging, prod] };
    let home = all.home.admin_client().await;
    let [staging, prod] = &all.remotes;
    page::set_up(&all.home, &staging.plane).await;
    Install::in_plane(&prod.plane).helm(&["install", "usher", "charts/usher", "--create-namespace"], &["side=Remote"]).await.ok();
    put_secret(&home, PROD_SECRET, &prod.kubeconfig().await).await;
    let clients = [home.clone(), all.remotes[0].plane.admin_client().await, all.remotes[1].plane.admin_client().await];
    for (name, client) in ENVIRONMENTS.iter().zip(&clients) {
        client::namespace(client, SHARED, &[("stage", name)]).await;
        declare(&home, "Environment", name, environment(name)).await;
    }
    all
}

fn environment(name: &str) -> Value {
    let mut spec = json!({"namespaces": {"matchLabels": {"stage": name}}});
    match name {
        "dev" => spec.as_object_mut().expect("an object").extend([("home".to_owned(), json!(true)), ("workspace".to_owned(), json!({}))]),
        "staging" => {
            spec["cluster"] = json!({"kubeconfigSecret": {"name": "staging-kubeconfig", "key": "kubeconfig"}});
            spec["workspace"] = json!({});
        }
        _ => spec["cluster"] = json!({"kubeconfigSecret": {"name": PROD_SECRET, "key": "kubeconfig"}}),
    }
    spec
}

/// A file in the folder of the home cluster, for tools that want one.
fn file(several: &Several, name: &str, text: &str) -> PathBuf {
    let path = several.all.home.dir().join(name);
    std::fs::write(&path, text).expect("space on the disk");
    path
}
