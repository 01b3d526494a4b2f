//! A binder: she may write people and Bindings, and gives only what she was allowed to give.

use kube::Client;
use serde_json::{Value, json};

use super::{Siege, allowed, change, create, may_bind, may_join, refused, rule};
use crate::support::name;

/// A binder of one Role and one team, and a Role that is not hers to give.
struct Binder {
    siege: Siege,
    client: Client,
    hers: String,
    other: String,
    team: String,
}

impl Binder {
    async fn new(more: &[Value]) -> Self {
        let siege = Siege::new().await;
        let (hers, other, team) = (name("hers"), name("other"), name("team"));
        for role in [&hers, &other] {
            allowed("a Role", create(&siege.client, "Role", role, json!({})).await);
        }
        let rules = [more, &[may_bind(&hers), may_join(&team)]].concat();
        let (_, client) = siege.somebody(&["usher-binder"], &rules).await;
        Self { siege, client, hers, other, team }
    }

    /// A Developer whom she made.
    async fn developer(&self) -> String {
        let person = name("dev");
        let spec = json!({"email": format!("{person}@example.com"), "teams": [self.team]});
        allowed("a Developer in a team that she may add to", create(&self.client, "Developer", &person, spec).await);
        person
    }
}

/// The verbs of usher's own on one of its resources, for everything.
fn everything(resource: &str, verbs: &[&str]) -> Value {
    rule("usher.dev", resource, &[], verbs)
}

#[tokio::test]
async fn a_role_is_bound_only_with_the_verb_bind_on_it() {
    let binder = Binder::new(&[]).await;
    let bind = async |role: &str| create(&binder.client, "Binding", &name("bind"), json!({"role": role, "developers": ["nobody"]})).await;
    allowed("binding her Role", bind(&binder.hers).await);
    refused("binding another", bind(&binder.other).await, "usher-bindings");
    refused("binding one that does not exist yet", bind(&name("future")).await, "usher-bindings");
}

#[tokio::test]
async fn a_binding_is_turned_neither_to_a_role_that_she_may_not_bind_nor_away_from_one() {
    let binder = Binder::new(&[]).await;
    let (own, theirs) = (name("own"), name("theirs"));
    allowed("hers", create(&binder.client, "Binding", &own, json!({"role": binder.hers, "developers": ["nobody"]})).await);
    allowed("theirs", create(&binder.siege.client, "Binding", &theirs, json!({"role": binder.other, "developers": ["nobody"]})).await);
    let turn = async |binding: &str, role: &str| change(&binder.client, "Binding", binding, json!({"spec": {"role": role}})).await;
    refused("turning hers to another Role", turn(&own, &binder.other).await, "usher-bindings");
    refused("turning theirs to her Role", turn(&theirs, &binder.hers).await, "usher-bindings");
    let join = json!({"spec": {"developers": ["nobody", "me"]}});
    refused("adding herself to theirs", change(&binder.client, "Binding", &theirs, join.clone()).await, "usher-bindings");
    allowed("adding to hers", change(&binder.client, "Binding", &own, join).await);
}

#[tokio::test]
async fn a_role_is_written_only_with_the_verb_escalate_on_it() {
    let binder = Binder::new(&[everything("roles", &["create", "update", "patch"])]).await;
    let wider = json!({"spec": {"access": [{"name": "all", "environments": ["*"], "clusterRoles": ["edit"]}]}});
    refused("widening the Role that she may bind", change(&binder.client, "Role", &binder.hers, wider).await, "usher-roles");
    refused("writing a Role of her own", create(&binder.client, "Role", &name("own"), json!({})).await, "usher-roles");
    let labelled = json!({"metadata": {"labels": {"team": "mine"}}});
    refused("relabelling one", change(&binder.client, "Role", &binder.hers, labelled).await, "usher-roles");
}

#[tokio::test]
async fn a_role_is_included_only_with_the_verb_bind_on_it_at_any_place_in_the_list() {
    let binder = Binder::new(&[everything("roles", &["create", "update", "patch", "escalate"])]).await;
    let own = name("own");
    allowed("a Role of her own that includes hers", create(&binder.client, "Role", &own, json!({"includes": [binder.hers]})).await);
    let include = async |roles: &[String]| change(&binder.client, "Role", &own, json!({"spec": {"includes": roles}})).await;
    let (_, many) = binder.siege.somebody(&["usher-binder"], &[everything("roles", &["create", "escalate", "bind"])]).await;
    let full: Vec<String> = (0..16).map(|number| format!("include-{number}")).collect();
    allowed("sixteen by somebody who may bind all", create(&many, "Role", &name("full"), json!({"includes": full})).await);
    for place in [0, 1, 3, 15] {
        // She may bind none of the others either, so what is asked is that this very place is looked at: all before it are hers.
        let (_, client) =
            binder.siege.somebody(&["usher-binder"], &[everything("roles", &["create", "escalate"]), names(&full[..place])]).await;
        let roles = &full[..=place];
        refused(
            "including one too many",
            create(&client, "Role", &name("place"), json!({"includes": roles})).await,
            &format!("urole/include-{place}"),
        );
    }
    refused("including another", include(&[binder.hers.clone(), binder.other.clone()]).await, "usher-roles");
    let seventeen: Vec<String> = (0..17).map(|number| format!("include-{number}")).collect();
    refused(
        "a seventeenth, which no policy would see",
        create(&many, "Role", &name("more"), json!({"includes": seventeen})).await,
        "spec.includes",
    );
}

/// The right to bind these Roles; none of them is no Role, not every Role.
fn names(roles: &[String]) -> Value {
    let mut names: Vec<&str> = roles.iter().map(String::as_str).collect();
    names.push("none");
    rule("usher.dev", "roles", &names, &["bind"])
}

#[tokio::test]
async fn a_team_is_joined_only_with_the_verb_join_on_it() {
    let binder = Binder::new(&[]).await;
    let (person, admins) = (binder.developer().await, name("admins"));
    let teams = async |teams: &[&String]| change(&binder.client, "Developer", &person, json!({"spec": {"teams": teams}})).await;
    refused("adding a team", teams(&[&binder.team, &admins]).await, "usher-developers");
    let fresh = json!({"email": "x@example.com", "teams": [admins]});
    refused("somebody new in it", create(&binder.client, "Developer", &name("dev"), fresh).await, "usher-developers");
    change(&binder.siege.client, "Developer", &person, json!({"spec": {"teams": [binder.team, admins]}})).await.unwrap();
    allowed(
        "changing something else of a member",
        change(&binder.client, "Developer", &person, json!({"spec": {"displayName": "Ada"}})).await,
    );
    allowed("taking the team away", teams(&[]).await);
    refused("and adding it again", teams(&[&admins]).await, "usher-developers");
}

#[tokio::test]
async fn a_team_is_looked_at_in_any_place_of_the_list() {
    let binder = Binder::new(&[]).await;
    let teams: Vec<String> = (0..16).map(|number| format!("team-{number}")).collect();
    for place in [1, 2, 15] {
        let names: Vec<&str> = teams[..place].iter().map(String::as_str).collect();
        let (_, client) = binder.siege.somebody(&["usher-binder"], &[rule("usher.dev", "teams", &names, &["join"])]).await;
        let spec = |count: usize| json!({"email": "x@example.com", "teams": teams[..count]});
        allowed("all that she may add to", create(&client, "Developer", &name("dev"), spec(place)).await);
        refused("one more", create(&client, "Developer", &name("dev"), spec(place + 1)).await, &format!("team team-{place} needs"));
    }
}

#[tokio::test]
async fn who_somebody_is_changes_only_with_the_right_to_developers_identity() {
    let binder = Binder::new(&[]).await;
    let person = binder.developer().await;
    let fields = [
        ("email", json!("boss@example.com")),
        ("username", json!("boss")),
        ("kubernetesUser", json!("oidc:boss")),
        ("personId", json!("1")),
        ("workspaces", json!([{"environment": "dev", "namespace": "payments"}])),
        ("accounts", json!([{"provider": "forge", "username": "root", "adopt": true}])),
    ];
    for (field, value) in &fields {
        let patch = json!({"spec": {*field: value}});
        // kubernetesUser is immutable anyway, which the schema says first.
        let by = if *field == "kubernetesUser" { "immutable".to_owned() } else { format!("setting {field} needs") };
        refused(field, change(&binder.client, "Developer", &person, patch).await, &by);
        if *field == "email" {
            continue;
        }
        let spec = json!({"email": "x@example.com", *field: value});
        refused(field, create(&binder.client, "Developer", &name("dev"), spec).await, &format!("setting {field} needs"));
    }
    let right = rule("usher.dev", "developers/identity", &[&person], &["update"]);
    let (_, registrar) = binder.siege.somebody(&["usher-binder"], &[right]).await;
    for (field, value) in &fields {
        if *field == "kubernetesUser" || *field == "workspaces" {
            // The first is for ever, and the second would take a namespace.
            continue;
        }
        let patch = json!({"spec": {*field: value}});
        allowed(field, change(&registrar, "Developer", &person, patch).await);
    }
    refused(
        "taking a name away",
        change(&binder.client, "Developer", &person, json!({"spec": {"username": null}})).await,
        "setting username",
    );
}

/// Whoever may pin still reaches no namespace that is nobody's.
#[tokio::test]
async fn pins_never_reach_namespaces_of_kubernetes_or_of_usher() {
    let siege = Siege::new().await;
    for namespace in ["kube-system", "kube-public", "default", "usher-identities"] {
        let spec = json!({"email": "x@example.com", "workspaces": [{"environment": "dev", "namespace": namespace}]});
        refused(namespace, create(&siege.client, "Developer", &name("dev"), spec).await, "nobody's workspace");
    }
    let spec = json!({"email": "x@example.com", "workspaces": [{"environment": "dev", "namespace": "usher-system"}]});
    refused("usher's own", create(&siege.client, "Developer", &name("dev"), spec).await, "usher-developers");
}

/// Environments decide where credentials are sent, and which namespaces are shared: RBAC leaves them to administrators.
#[tokio::test]
async fn environments_are_written_by_administrators_only() {
    let binder = Binder::new(&[]).await;
    let spec = json!({"namespaces": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}});
    refused("an Environment", create(&binder.client, "Environment", &name("env"), spec).await, "cannot create resource \"environments\"");
    refused(
        "a Lock",
        create(&binder.client, "Lock", &name("lock"), json!({"developer": "a", "reason": "b"})).await,
        "cannot create resource \"locks\"",
    );
}
