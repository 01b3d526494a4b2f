//! The control plane, two replicas, and whoever starts them again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use usher::api::Developer;
use usher::plan::identity::service_account;
use usher::plan::person::Person as Mark;

use super::model::{DEV, Model, PEOPLE, PROBES, ROLES, STAGING, Step};
use super::scan;
use crate::support::access::{Questions, Subject, difference};
use crate::support::client::{self, apply_as, explain, kind, manifest};
use crate::support::dice::Dice;
use crate::support::fleet::object;
use crate::support::install::Install;
use crate::support::operator::Operator;
use crate::support::people::{IDENTITIES, edit, namespace};
use crate::support::{AuditLevel, ControlPlane, wait_until};

/// Long enough for a hand-over on a busy machine.
const SOON: Duration = Duration::from_mins(2);
/// So many identities of the past are asked about; of the others it is read that no binding names them.
const ASKED: usize = 10;
const ELSEWHERE: &str = "elsewhere";

pub struct Cluster {
    // Dropped first, as their logs go with the control plane.
    replicas: Vec<Operator>,
    plane: ControlPlane,
    pub client: Client,
}

impl Cluster {
    pub async fn new() -> Self {
        let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
        let client = plane.admin_client().await;
        let values = ["leaderElection.leaseDuration=5s", "leaderElection.renewDeadline=4s", "leaderElection.retryPeriod=1s"];
        let more = ["environments.default=false", "starterRoles=false", "offboarding.brake.maxRemovals=1000"];
        let install = Install::new(&plane, &[&values[..], &more[..]].concat()).await;
        let mut replicas = Vec::new();
        for name in ["usher-0", "usher-1"] {
            replicas.push(Operator::start_with(&install, &["--identity", name]).await);
        }
        for replica in &replicas {
            replica.ready().await;
        }
        let cluster = Self { replicas, plane, client };
        cluster.furnish().await;
        cluster
    }

    /// Two Environments, three Roles, and their Bindings, which nobody is named in yet.
    async fn furnish(&self) {
        let client = &self.client;
        for (name, stage) in [(DEV, "dev"), (STAGING, "staging"), (ELSEWHERE, "none")] {
            client::namespace(client, name, &[("stage", stage)]).await;
        }
        let stage = |name: &str| json!({"matchLabels": {"stage": name}});
        self.put("Environment", "dev", &json!({"namespaces": stage("dev"), "home": true, "workspace": {}})).await;
        self.put("Environment", "staging", &json!({"namespaces": stage("staging"), "identity": {"user": "oidc:{email}"}})).await;
        let entry = |environments: &[&str], role: &str| json!([{"name": "e", "environments": environments, "clusterRoles": [role]}]);
        self.put("Role", "look", &json!({"access": entry(&["dev", "staging"], "view")})).await;
        self.put("Role", "work", &json!({"access": entry(&["dev"], "edit")})).await;
        let rules = json!([{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]}]);
        self.put("Role", "care", &json!({"access": [{"name": "e", "environments": ["staging"], "rules": rules}]})).await;
        for role in ROLES {
            self.put("Binding", role, &json!({"role": role, "teams": ["nobody"]})).await;
        }
    }

    async fn put(&self, of: &str, name: &str, spec: &Value) -> DynamicObject {
        let applied = apply_as(&self.client, client::TEST, object(of, name, spec)).await;
        applied.unwrap_or_else(|error| panic!("{of} {name}: {}", explain(&error)))
    }

    pub async fn carry_out(&mut self, step: &Step, model: &mut Model) {
        let client = self.client.clone();
        let mut uid = String::new();
        match step {
            Step::Create(name, id) => uid = self.create(name, id.as_deref(), model).await,
            Step::Set(name, state) => drop(edit(&client, "Developer", name, json!({"state": format!("{state:?}")})).await),
            Step::Delete(name) => delete(&client, "Developer", name).await,
            Step::Lock(person, name, revoke) => {
                let spec = json!({"developer": person, "reason": "SEC-91", "revokeCredentials": revoke});
                self.put("Lock", name, &spec).await;
            }
            Step::Lift(name) => drop(edit(&client, "Lock", name, json!({"lifted": true})).await),
            Step::Forget(name) => delete(&client, "Lock", name).await,
            Step::Toggle(..) | Step::Move | Step::Befriend(_) | Step::Bind(_) => {}
        }
        model.take(step, &uid);
        match step {
            Step::Toggle(role, _) => drop(edit(&client, "Binding", role, json!({"developers": model.holders(role)})).await),
            Step::Move => {
                let environments: &[&str] = if model.moved { &["dev"] } else { &["dev", "staging"] };
                let access = json!([{"name": "e", "environments": environments, "clusterRoles": ["view"]}]);
                edit(&client, "Role", "look", json!({"access": access})).await;
            }
            Step::Befriend(name) if !self.befriend(name).await => drop(model.friends.remove(name)),
            Step::Bind(name) => self.bind(name, model).await,
            _ => {}
        }
    }

    /// Makes a Developer as soon as the one before is gone.
    async fn create(&mut self, name: &'static str, id: Option<&str>, model: &mut Model) -> String {
        let api = kind(&self.client, "Developer").await;
        wait_until(&format!("the Developer {name} before is gone"), SOON, async || {
            self.supervise().await;
            match api.get_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(object)) => Err(object.data["status"].to_string()),
                Err(error) => Err(explain(&error)),
            }
        })
        .await;
        let mut spec = json!({"email": format!("{name}@example.com")});
        spec.as_object_mut().expect("an object").extend(id.map(|id| ("personId".to_owned(), json!(id))));
        let made = self.put("Developer", name, &spec).await;
        let developer: Developer = made.clone().try_parse().expect("a Developer");
        let account = service_account(name, &Mark::own(&developer));
        let key = id.map_or_else(|| format!("uid {}", made.uid().unwrap_or_default()), |id| format!("id {id}"));
        model.accounts.insert(account, (name, key));
        made.uid().expect("it was made")
    }

    /// Lets a colleague into a workspace, if there is one.
    async fn befriend(&self, name: &str) -> bool {
        let workspace = Model::workspace(name);
        let there = namespace(&self.client, &workspace).await.is_some_and(|it| it.metadata.deletion_timestamp.is_none());
        if there {
            self.role_binding(&workspace, "friend", "{kind: User, name: friend, apiGroup: rbac.authorization.k8s.io}").await;
        }
        there
    }

    /// Binds somebody's identity where usher does not work.
    async fn bind(&self, name: &str, model: &Model) {
        let key = model.people[name].key();
        let account = model.accounts.iter().find(|(_, whose)| **whose == (name_of(name), key.clone())).expect("she has one").0;
        let subject = format!("{{kind: ServiceAccount, name: {account}, namespace: {IDENTITIES}}}");
        self.role_binding(ELSEWHERE, &format!("for-{account}"), &subject).await;
    }

    async fn role_binding(&self, place: &str, name: &str, subject: &str) {
        let made = apply_as(
            &self.client,
            "colleague",
            manifest(&format!(
                "{{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: {name}, namespace: {place}}},
                  roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}}, subjects: [{subject}]}}"
            )),
        );
        made.await.unwrap_or_else(|error| panic!("{place}/{name}: {}", explain(&error)));
    }

    /// Something breaks, one after the other: a replica is killed, the API server restarts, the leader is told to stop.
    pub async fn breaks(mut self, number: usize, dice: &mut Dice) -> Self {
        let which = dice.roll(2);
        match number % 4 {
            1 | 3 => {
                println!("     replica {which} is killed");
                self.replicas[which].restart().await;
            }
            2 => {
                println!("     the API server restarts");
                self.plane = self.plane.restart_apiserver().await;
                self.client = self.plane.admin_client().await;
                self.admits().await;
            }
            _ => {
                println!("     replica {which} is told to stop");
                self.replicas[which].terminate().await;
                self.replicas[which].restart().await;
            }
        }
        self
    }

    /// An API server that is ready may still refuse what a policy with parameters matches: it reads those later.
    async fn admits(&self) {
        let api = kind(&self.client, "Binding").await;
        let parameters = PatchParams { dry_run: true, ..PatchParams::default() };
        wait_until("admission policies have read their parameters", SOON, async || {
            let edit = Patch::Merge(json!({"spec": {"teams": ["nobody", "else"]}}));
            api.patch(ROLES[0], &parameters, &edit).await.map(|_| ()).map_err(|error| explain(&error))
        })
        .await;
    }

    /// Starts replicas again that ended, as Kubernetes does.
    async fn supervise(&mut self) {
        for replica in &mut self.replicas {
            if !replica.is_alive() {
                println!("     a replica ended and is started again");
                replica.restart().await;
            }
        }
    }

    /// Waits until access is what the model says, and looks at everything then.
    pub async fn rest(&mut self, model: &mut Model) {
        let (since, mut looks) = (Instant::now(), 0);
        wait_until("access is exact and the rest is in order", SOON, async || {
            looks += 1;
            self.supervise().await;
            self.learn_owners(model).await;
            let questions = questions(model);
            let (seen, expected) = (questions.ask(&self.client).await, model.expected(&questions));
            if seen != expected {
                return Err(difference(&seen, &expected));
            }
            scan::order(&self.client, model).await
        })
        .await;
        scan::receipts_are_true(&self.client, model).await;
        println!("     exact after {:.1?} and {looks} looks", since.elapsed());
    }

    /// Whose a workspace is, is decided by who was first; nobody else's it becomes.
    async fn learn_owners(&self, model: &mut Model) {
        for name in PEOPLE.into_iter().filter(|name| !model.owners.contains_key(name)).collect::<Vec<_>>() {
            let Some(found) = namespace(&self.client, &Model::workspace(name)).await else { continue };
            let uid = found.annotations().get("usher.dev/developer-uid").expect("it is marked");
            model.owners.insert(name, model.keys.get(uid).unwrap_or_else(|| panic!("{uid} of {name} is nobody's")).clone());
        }
    }

    /// Somebody deletes a workspace by hand.
    pub async fn lose_a_workspace(&mut self, model: &mut Model, dice: &mut Dice) {
        model.lost_workspaces += 1;
        let Some(name) = dice.pick(&model.owners.keys().copied().collect::<Vec<_>>()).copied() else { return };
        let workspace = Model::workspace(name);
        println!("     namespace {workspace} is deleted by hand");
        let Some(before) = namespace(&self.client, &workspace).await else { return };
        let api = Api::<Namespace>::all(self.client.clone());
        api.delete(&workspace, &DeleteParams::default()).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
        wait_until("the workspace is gone", SOON, async || {
            self.supervise().await;
            let present = namespace(&self.client, &workspace).await;
            if present.is_none_or(|present| present.uid() != before.uid()) { Ok(()) } else { Err("it is there") }
        })
        .await;
        model.owners.remove(name);
        model.friends.remove(name);
    }

    /// In the end every receipt is complete and every Lock is applied.
    pub async fn end(&mut self, model: &mut Model) {
        wait_until("receipts are complete and Locks applied", SOON, async || {
            self.supervise().await;
            scan::finished(&self.client, model).await
        })
        .await;
        self.rest(model).await;
    }

    pub async fn stop(self) {
        drop(self.replicas);
        self.plane.stop().await;
    }
}

fn name_of(name: &str) -> &'static str {
    PEOPLE.into_iter().find(|it| *it == name).expect("one of them")
}

async fn delete(client: &Client, of: &str, name: &str) {
    let api = kind(client, of).await;
    api.delete(name, &DeleteParams::default()).await.unwrap_or_else(|error| panic!("{of} {name}: {}", explain(&error)));
}

/// Everybody by the present identity and by login, and some who were.
fn questions(model: &Model) -> Questions {
    let present = |name: &str, key: &String| model.people.get(name).is_some_and(|person| person.key() == *key);
    let mut people: Vec<(String, Subject)> = PEOPLE.into_iter().map(|name| (Model::login(name), login(name))).collect();
    let mut now: BTreeMap<&str, Subject> = PEOPLE.into_iter().map(|name| (name, Subject::user("nobody"))).collect();
    let mut past = Vec::new();
    for (account, (name, key)) in &model.accounts {
        let subject = Subject::service_account(IDENTITIES, account);
        if present(name, key) {
            now.insert(name, subject);
        } else {
            past.push((account.clone(), subject));
        }
    }
    people.extend(now.into_iter().map(|(name, subject)| (name.to_owned(), subject)));
    people.extend(past.into_iter().rev().take(ASKED));
    let workspaces: Vec<String> = PEOPLE.into_iter().map(Model::workspace).collect();
    let places: Vec<&str> = [DEV, STAGING].into_iter().chain(workspaces.iter().map(String::as_str)).collect();
    let people: Vec<(&str, Subject)> = people.iter().map(|(name, subject)| (name.as_str(), subject.clone())).collect();
    Questions::new(&people, &places, &PROBES)
}

fn login(name: &str) -> Subject {
    Subject::user(&format!("oidc:{name}@example.com"))
}

/// The RoleBindings of a namespace.
pub async fn bindings_in(client: &Client, place: &str) -> Vec<RoleBinding> {
    crate::support::fleet::list(Api::namespaced(client.clone(), place)).await
}
