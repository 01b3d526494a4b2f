//! The chart's RBAC is what the operator uses: nothing it needed was refused, and nothing it may do is left unused (DESIGN.md, promise 8).
//!
//! One operator goes through everything that it can meet, with the chart's ServiceAccount; the API server's audit log says what it asked for.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::support::audit::{Audit, Event, lines};
use crate::support::client::{self, api_for, explain, kind, manifest, ready};
use crate::support::fleet::{gone, object, put};
use crate::support::install::{Install, PATIENT};
use crate::support::operator::Operator;
use crate::support::people::reaches;
use crate::support::scim::{Sender, certify, declare_source};
use crate::support::systems::System;
use crate::support::{AuditLevel, ControlPlane, wait_until};

const SOON: Duration = Duration::from_mins(1);

/// What is allowed and was not used, and why it stays.
const UNUSED: [(&str, &str, &str); 11] = [
    ("bind", "clusterroles.rbac.authorization.k8s.io", "no request: the API server asks for it when a binding is written"),
    ("bind", "roles.rbac.authorization.k8s.io", "no request: the API server asks for it when a sealed binding of a Role is put back"),
    ("get", "departures.usher.dev", "reads the Departure that was begun just before a crash and that its watch has not brought yet"),
    ("escalate", "clusterroles.rbac.authorization.k8s.io", "no request: the API server asks for it when a ClusterRole is written"),
    ("create", "developers.usher.dev", "no request: the API server asks for it when server-side apply (patch) finds none"),
    ("update", "developers/identity.usher.dev", "no request: a policy asks for it when somebody of a Source is made"),
    ("join", "teams.usher.dev", "no request: a policy asks for it when somebody of a Source is given a team"),
    ("create", "secrets", "no request: the API server asks for it when server-side apply (patch) finds none"),
    ("create", "configmaps", "no request: the API server asks for it when server-side apply (patch) finds none"),
    ("get", "configmaps", "reads what was put in the place of a ConfigMap that it was about to delete"),
    ("get", "grants.usher.dev", "reads the Grant that was begun just before a crash and that its watch has not brought yet"),
];

/// One thing that is allowed: by one rule, one verb, one resource, one name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    pub namespace: Option<String>,
    verb: String,
    target: String,
    name: Option<String>,
}

impl fmt::Debug for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.target)?;
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        self.namespace.as_ref().map_or(Ok(()), |namespace| write!(f, " in {namespace}"))
    }
}

impl Right {
    /// What rules allow, in a namespace or everywhere.
    pub fn of(namespace: Option<&str>, rules: &[PolicyRule]) -> BTreeSet<Self> {
        let mut rights = BTreeSet::new();
        for rule in rules {
            let names = rule.resource_names.clone().unwrap_or_default();
            let names: Vec<Option<String>> = if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
            for group in rule.api_groups.iter().flatten() {
                for resource in rule.resources.iter().flatten() {
                    let target = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
                    for verb in &rule.verbs {
                        let right = |name: &Option<String>| Self {
                            namespace: namespace.map(str::to_owned),
                            verb: verb.clone(),
                            target: target.clone(),
                            name: name.clone(),
                        };
                        rights.extend(names.iter().map(right));
                    }
                }
            }
        }
        rights
    }

    /// The same in all namespaces.
    pub fn everywhere(&self) -> Self {
        Self { namespace: None, ..self.clone() }
    }

    /// The rule that allows it and nothing else.
    pub fn rule(&self) -> PolicyRule {
        let (resource, group) = self.target.split_once('.').unwrap_or((&self.target, ""));
        PolicyRule {
            api_groups: Some(vec![group.to_owned()]),
            resources: Some(vec![resource.to_owned()]),
            resource_names: self.name.clone().map(|name| vec![name]),
            verbs: vec![self.verb.clone()],
            non_resource_urls: None,
        }
    }

    fn used_by(&self, event: &Event) -> bool {
        self.verb == event.verb
            && self.target == event.target()
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == event.namespace)
            && self.name.as_ref().is_none_or(|name| *name == event.name)
    }

    fn excused(&self) -> bool {
        UNUSED.iter().any(|(verb, target, _)| self.verb == *verb && self.target == *target)
    }
}

/// Everything that the chart allows the operator.
async fn rights(client: &Client) -> BTreeSet<Right> {
    let cluster = Api::<ClusterRole>::all(client.clone()).get("usher").await.unwrap();
    let mut rights = Right::of(None, &cluster.rules.unwrap_or_default());
    for namespace in ["usher-identities", "usher-system"] {
        let role = Api::<Role>::namespaced(client.clone(), namespace).get("usher").await.unwrap();
        rights.extend(Right::of(Some(namespace), &role.rules.unwrap_or_default()));
    }
    rights
}

/// A control plane with the chart as people install it, an operator, and something to give access to.
struct House {
    /// An outside system in which people get accounts.
    database: System,
    // Dropped first, as its log goes with the control plane.
    operator: Operator,
    plane: ControlPlane,
    client: Client,
    install: Install,
    audit: Audit,
    /// The CA of the certificate with which it serves SCIM.
    ca: String,
}

impl House {
    async fn new() -> Self {
        let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
        let client = plane.admin_client().await;
        let install =
            Install::new(&plane, &[PATIENT[0], PATIENT[1], "audit.retention=5s", "audit.revisionsPerRole=1", "scim.enabled=true"]).await;
        let ca = certify(&client).await;
        let audit = Audit::from_now(&plane);
        let operator = Operator::start_with(&install, &["--identity", "usher-0"]).await;
        operator.ready().await;
        client::namespace(&client, "shop", &[("usher.dev/managed", "true")]).await;
        Self { database: System::start("postgresql").await, operator, plane, client, install, audit, ca }
    }

    /// A Provider, with usher's credentials for it, and a Role that gives accounts there.
    async fn provider(&self) {
        let ca = std::fs::read_to_string(self.database.ca_file()).expect("a certificate");
        let values = json!({"password": self.database.env("ADMIN_PASSWORD"), "ca.crt": ca});
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": "usher-system"}, "stringData": values});
        put(&self.client, manifest(&secret.to_string())).await;
        let url = format!("postgresql://{}:{}/postgres", self.database.env("HOST"), self.database.env("PORT"));
        let key = |key: &str| json!({"name": "db", "key": key});
        let settings =
            json!({"url": url, "user": self.database.env("ADMIN_USER"), "credentialsSecret": key("password"), "caSecret": key("ca.crt")});
        put(&self.client, object("Provider", "db", &json!({"postgresql": settings}))).await;
        put(&self.client, object("Role", "db", &json!({"accounts": [{"provider": "db"}]}))).await;
        put(&self.client, object("Binding", "db", &json!({"role": "db", "developers": ["ada"]}))).await;
    }

    /// A Source that waits for its Secret: what it tells is told all the same.
    async fn source(&self) {
        let key = json!({"name": "hr", "key": "password"});
        let realm = json!({"url": "https://id.example.com", "realm": "staff", "credentialsSecret": key});
        put(&self.client, object("Source", "hr", &json!({"keycloak": realm}))).await;
        reaches(&self.client, "Source", "hr", "/status/state", "Incomplete").await;
    }

    /// Somebody is pushed, changed, called otherwise and deleted.
    async fn pushes(&self) {
        let token = declare_source(&self.client, "push", json!({"mode": "Observe"})).await;
        let sender = Sender::new(&self.operator, &self.ca, "push", &token).await;
        sender.let_in().await;
        let id = sender.post("/Users", &json!({"userName": "eve@example.com", "externalId": "e"})).await.is(201).id();
        sender.find("Users", "userName eq \"eve@example.com\"").await;
        for change in [json!({"title": "Boss"}), json!({"userName": "eva@example.com"})] {
            sender.patch(&format!("/Users/{id}"), json!([{"op": "replace", "value": change}])).await.is(200);
        }
        sender.with("DELETE", &format!("/Users/{id}"), &[], None).await.is(204);
    }

    /// Changes an object as somebody would with `kubectl patch`. One that was replaced by another meanwhile is left alone.
    async fn edit(&self, of: &DynamicObject, change: &Value) {
        let api = api_for(&self.client, of).await.expect("a known kind");
        let parameters = PatchParams { field_manager: Some(client::TEST.to_owned()), ..PatchParams::default() };
        match api.patch(&of.name_any(), &parameters, &Patch::Merge(change)).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            answer => drop(answer.unwrap_or_else(|error| panic!("{change}: {}", explain(&error)))),
        }
    }

    async fn edit_dev(&self, spec: Value) {
        wait_until("uenv/dev is there", SOON, async || {
            kind(&self.client, "Environment").await.get("dev").await.map_err(|error| explain(&error))
        })
        .await;
        self.edit(&object("Environment", "dev", &json!({})), &json!({"spec": spec})).await;
    }

    /// People, Roles of every sort, and Bindings.
    async fn people(&self) {
        self.edit_dev(json!({"allowClusterScope": true, "workspace": {
            "quota": {"pods": "20"},
            "limits": {"default": {"memory": "512Mi"}},
            "onDeparture": {"action": "Delete", "deleteAfter": "5s"},
        }}))
        .await;
        let rule = |group: &str, resource: &str| json!([{"apiGroups": [group], "resources": [resource], "verbs": ["get"]}]);
        let nodes = json!({"access": [
            {"name": "nodes", "environments": ["*"], "cluster": true, "rules": rule("", "nodes")},
            {"name": "widgets", "environments": ["*"], "rules": rule("example.com", "widgets")},
        ]});
        put(&self.client, object("Role", "nodes", &nodes)).await;
        for name in ["ada", "bob"] {
            put(&self.client, object("Developer", name, &json!({"email": format!("{name}@example.com"), "teams": ["all"]}))).await;
        }
        put(&self.client, object("Binding", "work", &json!({"role": "developer", "teams": ["all"]}))).await;
        put(&self.client, object("Binding", "nodes", &json!({"role": "nodes", "developers": ["ada"]}))).await;
        let soon = Timestamp::now().checked_add(SignedDuration::from_secs(2)).unwrap().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        put(
            &self.client,
            object("Binding", "short", &json!({"role": "viewer", "developers": ["bob"], "expiresAt": soon, "deleteAfterExpiry": "1s"})),
        )
        .await;
        self.provider().await;
        self.source().await;
        self.pushes().await;
        for name in ["ada", "bob"] {
            ready(&self.client, name).await;
        }
        gone(&self.client, "Binding", "short").await;
    }

    /// The one object of a kind that usher made here.
    async fn made(&self, version: &str, of: &str, namespace: &str) -> DynamicObject {
        let probe = json!({"apiVersion": version, "kind": of, "metadata": {"name": "x", "namespace": namespace}});
        let mut probe = manifest(&probe.to_string());
        probe.metadata.namespace = probe.metadata.namespace.filter(|namespace| !namespace.is_empty());
        let api = api_for(&self.client, &probe).await.expect("a known kind");
        wait_until(&format!("usher has made a {of} in {namespace}"), SOON, async || {
            let list =
                api.list(&ListParams::default().labels("app.kubernetes.io/managed-by=usher")).await.map_err(|error| explain(&error))?;
            let mut found = list.items.into_iter().next().ok_or("there is none")?;
            found.types.clone_from(&probe.types);
            Ok::<_, String>(found)
        })
        .await
    }

    /// Damages something of usher's, faster than it can mend, until its mending met a newer version: then it has to read.
    async fn quarrel(&self, (version, of, namespace): (&str, &str, &str), damage: &Value, target: &str) {
        let seen = |verb: &str| self.audit.operator().iter().any(|event| event.verb == verb && event.target() == target);
        wait_until(&format!("usher mends {target} and reads one that changed meanwhile"), SOON, async || {
            let victim = self.made(version, of, namespace).await;
            let one = async |number: usize| {
                let mut change = damage.clone();
                change["metadata"]["annotations"]["example.com/quarrel"] = format!("{number}{:?}", std::time::Instant::now()).into();
                self.edit(&victim, &change).await;
            };
            futures::future::join_all((0..8).map(one)).await;
            if seen("get") && (seen("update") || seen("patch")) { Ok(()) } else { Err("not yet") }
        })
        .await;
    }

    async fn quarrels(&self) {
        let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
        for (version, of, namespace, damage, target) in [
            ("v1", "Namespace", "", json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}), "namespaces"),
            ("v1", "ResourceQuota", "dev-ada", json!({"spec": {"hard": {"pods": "999"}}}), "resourcequotas"),
            ("v1", "LimitRange", "dev-ada", json!({"metadata": {"labels": {"usher.dev/developer": "nobody"}}}), "limitranges"),
            ("networking.k8s.io/v1", "NetworkPolicy", "dev-ada", json!({"spec": {"ingress": []}}), "networkpolicies.networking.k8s.io"),
            ("v1", "ServiceAccount", "usher-identities", json!({"automountServiceAccountToken": true}), "serviceaccounts"),
            ("rbac.authorization.k8s.io/v1", "RoleBinding", "shop", json!({"subjects": []}), "rolebindings.rbac.authorization.k8s.io"),
            ("rbac.authorization.k8s.io/v1", "ClusterRole", "", json!({"rules": rules}), "clusterroles.rbac.authorization.k8s.io"),
            (
                "rbac.authorization.k8s.io/v1",
                "ClusterRoleBinding",
                "",
                json!({"subjects": []}),
                "clusterrolebindings.rbac.authorization.k8s.io",
            ),
        ] {
            self.quarrel((version, of, namespace), &damage, target).await;
        }
    }

    async fn delete(&self, of: &str, name: &str) {
        let api = kind(&self.client, of).await;
        api.delete(name, &DeleteParams::default()).await.unwrap_or_else(|error| panic!("{of} {name}: {}", explain(&error)));
        gone(&self.client, of, name).await;
    }

    /// An emergency stop, and its end.
    async fn lock(&self) {
        put(&self.client, object("Lock", "stolen", &json!({"developer": "ada", "reason": "laptop stolen"}))).await;
        reaches(&self.client, "Lock", "stolen", "/status/state", "Applied").await;
        self.edit(&object("Lock", "stolen", &json!({})), &json!({"spec": {"lifted": true}})).await;
        self.delete("Lock", "stolen").await;
        ready(&self.client, "ada").await;
    }

    /// Templates that want less, then people and everything else on its way out.
    async fn removals(&self) {
        self.edit_dev(json!({"workspace": {"quota": null, "limits": null, "isolation": "None"}})).await;
        self.edit(&object("Developer", "bob", &json!({})), &json!({"spec": {"state": "Departed"}})).await;
        let namespaces = Api::<k8s_openapi::api::core::v1::Namespace>::all(self.client.clone());
        wait_until("bob's workspace is gone", SOON, async || {
            let found = namespaces.get_metadata_opt("dev-bob").await.map_err(|error| explain(&error))?;
            found.map_or(Ok(()), |found| Err(format!("{:?}", found.metadata)))
        })
        .await;
        self.delete("Role", "nodes").await;
        self.delete("Developer", "ada").await;
        self.delete("Binding", "work").await;
        self.delete("Binding", "db").await;
        let departures = kind(&self.client, "Departure").await;
        wait_until("the receipts are complete", SOON, async || {
            let list = departures.list(&ListParams::default()).await.map_err(|error| explain(&error))?;
            let states: Vec<_> = list.items.iter().map(|it| it.data["status"]["state"].clone()).collect();
            if states.len() == 2 && states.iter().all(|state| state == "Complete") { Ok(()) } else { Err(format!("{states:?}")) }
        })
        .await;
        self.delete("Environment", "dev").await;
        self.delete("Provider", "db").await;
    }

    /// Waits until what is over was deleted from the record.
    async fn purged(&self) {
        for target in ["grants.usher.dev", "departures.usher.dev", "controllerrevisions.apps"] {
            wait_until(&format!("{target} are purged"), SOON, async || {
                let deleted = self.audit.operator().iter().any(|event| event.verb == "delete" && event.target() == target);
                if deleted { Ok(()) } else { Err("not yet") }
            })
            .await;
        }
    }

    /// Fails with what the operator was refused.
    #[track_caller]
    fn assert_nothing_refused(&self) {
        let refused: Vec<_> = self.audit.operator().into_iter().filter(|event| event.code == 403 || event.code == 401).collect();
        assert!(refused.is_empty(), "refused:{}", lines(&refused));
    }
}

#[tokio::test]
async fn every_right_of_the_operator_is_used_and_none_is_missing() {
    let mut house = House::new().await;
    house.people().await;
    house.quarrels().await;
    house.lock().await;
    house.removals().await;
    house.purged().await;
    house.operator.terminate().await;
    house.assert_nothing_refused();

    let events: Vec<_> = house.audit.operator().into_iter().filter(|event| event.code < 500).collect();
    let rights = rights(&house.client).await;
    assert!(rights.len() > 60, "the chart's roles were read: {rights:?}");
    let unused: BTreeSet<_> = rights.iter().filter(|right| !events.iter().any(|event| right.used_by(event))).collect();
    println!("{} rights, {} of them unused: {unused:?}", rights.len(), unused.len());
    let waste: Vec<_> = unused.iter().filter(|right| !right.excused()).collect();
    assert!(waste.is_empty(), "allowed by charts/usher/templates/rbac.yaml and never used; take it out: {waste:?}");
    for (verb, target, reason) in UNUSED {
        let used = !unused.iter().any(|right| right.verb == verb && right.target == target && right.namespace.is_none());
        assert!(!used, "{verb} {target} was used after all, so it needs no excuse: {reason}");
    }
    house.plane.stop().await;
}

/// `fence.inlineRules=false` is for those who do not want to give an operator bind and escalate on everything.
#[tokio::test]
async fn without_inline_rules_it_takes_back_what_it_generated_and_does_the_rest_with_less() {
    let mut house = House::new().await;
    house.people().await;
    let generated = async || {
        let labels = ListParams::default().labels("usher.dev/role=nodes");
        let roles = Api::<ClusterRole>::all(house.client.clone()).list_metadata(&labels).await.map_err(|error| explain(&error))?;
        Ok::<_, String>(roles.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>())
    };
    assert_eq!(generated().await.unwrap().len(), 2, "one for the namespaces, one for the cluster");
    house.install.upgrade("charts/usher".as_ref(), &["fence.inlineRules=false", PATIENT[0], PATIENT[1]]).await.ok();
    let rights = rights(&house.client).await;
    let bound: Vec<_> = rights.iter().filter(|right| right.verb == "bind" || right.verb == "escalate").collect();
    assert!(bound.iter().all(|right| right.verb == "bind" && right.name.is_some()) && bound.len() == 3, "{bound:?}");

    house.operator.restart().await;
    house.operator.ready().await;
    wait_until("the generated ClusterRoles are gone", SOON, async || {
        let left = generated().await?;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    put(&house.client, object("Developer", "cyd", &json!({"email": "cyd@example.com", "teams": ["all"]}))).await;
    ready(&house.client, "cyd").await;
    let role = kind(&house.client, "Role").await.get("nodes").await.unwrap();
    assert!(role.data["status"]["conditions"].to_string().contains("Denied"), "{}", role.data["status"]);
    house.assert_nothing_refused();
    house.plane.stop().await;
}
