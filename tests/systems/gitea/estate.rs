//! Who owns something: repositories, packages, organizations. And who owns nothing but belongs somewhere.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use usher::connectors::Connector;
use usher::connectors::error::ConnectorError;
use usher::plan::account::{AccountChange, Managed, Owned};

use super::habits::apply;
use super::{By, Forge, PASSWORD};
use crate::conformance::{Target, made, named, read};
use crate::support::systems::git::said;

const NONE: Managed = Managed::Only(BTreeSet::new());

fn delete(id: &str, owned: Owned) -> AccountChange {
    AccountChange::Delete { id: id.to_owned(), owned }
}

async fn refused(connector: &dyn Connector, change: &AccountChange) -> ConnectorError {
    connector.apply(change).await.expect_err("it is refused")
}

impl Forge {
    async fn repository(&self, owner: &str, name: &str) -> Option<Value> {
        let found = self.send(By::Administrator, "GET", &format!("/repos/{owner}/{name}"), Value::Null).await;
        (found.status == 200).then_some(found.body)
    }

    /// An organization of somebody's with a repository in it.
    async fn found(&self, (username, password): (&str, &str), organization: &str) {
        let her = By::Password(username, password);
        self.as_one(her, "POST", "/orgs", json!({ "username": organization })).await;
        self.as_one(her, "POST", &format!("/orgs/{organization}/repos"), json!({ "name": "plans", "private": true })).await;
    }
}

/// To purge somebody would take her organizations along, with the work of all others.
#[tokio::test]
async fn an_organization_outlives_its_last_owner() {
    let forge = Forge::start().await;
    let [ada, analysts] = &["ada", "analysts"].map(|name| forge.login(name));
    let proxy = forge.proxy().await;
    let connector = forge.behind(&proxy);
    let (id, password) = made(connector.as_ref(), ada).await;
    forge.found((ada, &password), analysts).await;
    for owned in [Owned::Keep, Owned::Transfer(analysts.clone())] {
        let error = refused(connector.as_ref(), &delete(&id, owned)).await;
        assert!(
            matches!(error, ConnectorError::OwnsObjects { .. }) && error.to_string().contains(&format!("organization {analysts}")),
            "{}",
            error.chain()
        );
    }
    let leave = AccountChange::Leave { id: id.clone(), group: format!("{analysts}/Owners") };
    let error = refused(connector.as_ref(), &leave).await;
    assert!(matches!(error, ConnectorError::Rejected { .. }) && error.to_string().contains("last owner"), "{}", error.chain());
    assert!(forge.is_in(analysts, "Owners", ada).await);
    let heir = forge.make_heir().await;
    apply(connector.as_ref(), delete(&id, Owned::Transfer(heir.clone()))).await;
    assert_eq!(connector.find(&named(ada), &NONE).await.expect("an answer"), None);
    assert!(forge.is_in(analysts, "Owners", &heir).await && forge.repository(analysts, "plans").await.is_some());
    let asked = proxy.asked();
    assert!(asked.iter().any(|asked| asked.method == "DELETE") && asked.iter().all(|asked| !asked.path.contains("purge")));
}

/// Where others own it as well, she just leaves.
#[tokio::test]
async fn one_of_several_owners_leaves() {
    let forge = Forge::start().await;
    let [ada, bob, analysts] = &["ada", "bob", "analysts"].map(|name| forge.login(name));
    let connector = forge.usher();
    let (id, password) = made(connector.as_ref(), ada).await;
    forge.found((ada, &password), analysts).await;
    forge.make_stranger(bob, &format!("{bob}@example.com")).await;
    let owners = forge.team(analysts, "Owners").await;
    forge.admin("PUT", &format!("/teams/{owners}/members/{bob}"), Value::Null).await;
    apply(connector.as_ref(), delete(&id, Owned::Keep)).await;
    assert_eq!(connector.find(&named(ada), &NONE).await.expect("an answer"), None);
    assert!(forge.is_in(analysts, "Owners", bob).await);
}

/// Who owns an organization is not usher's to say, unless a Role names its owners.
#[tokio::test]
async fn owners_are_left_alone_unless_a_role_names_them() {
    let forge = Forge::start().await;
    let [ada, bob, analysts] = &["ada", "bob", "analysts"].map(|name| forge.login(name));
    let connector = forge.usher();
    let (id, password) = made(connector.as_ref(), ada).await;
    forge.found((ada, &password), analysts).await;
    forge.make_team(analysts, "developers").await;
    let developers = forge.team(analysts, "developers").await;
    forge.admin("PUT", &format!("/teams/{developers}/members/{ada}"), Value::Null).await;
    let (owners, developers) = (format!("{}/owners", forge.login("Analysts")), format!("{analysts}/developers"));
    let all = BTreeSet::from([owners.clone(), developers.clone()]);
    for (managed, expected) in [(&Managed::All, BTreeSet::from([developers])), (&Managed::Only(all.clone()), all)] {
        assert_eq!(read(connector.as_ref(), &id, managed).await.groups, expected);
        let listed = connector.list(managed).await.expect("a list").into_iter().find(|it| it.id == id).expect("she is listed");
        assert_eq!(listed.groups, expected, "as the Role writes it");
    }
    let (id, _) = made(connector.as_ref(), bob).await;
    apply(connector.as_ref(), AccountChange::Join { id: id.clone(), group: owners.clone() }).await;
    assert!(forge.is_in(analysts, "Owners", bob).await);
    apply(connector.as_ref(), AccountChange::Leave { id: id.clone(), group: owners }).await;
    assert!(!forge.is_in(analysts, "Owners", bob).await);
    apply(connector.as_ref(), AccountChange::Leave { id, group: "nowhere/developers".to_owned() }).await;
}

/// usher's own account gets it, for good and as it was; also where it has something of that name from somebody who left before.
#[tokio::test]
async fn what_is_archived_is_kept() {
    let forge = Forge::start().await;
    let [ada, bob] = &["ada", "bob"].map(|name| forge.login(name));
    let connector = forge.usher();
    for person in [ada, bob] {
        let (id, password) = made(connector.as_ref(), person).await;
        forge.own(person, &password).await;
        assert!(forge.git.pushes(None, &forge.git.https(person, &password, &format!("{person}/engine"))).await);
        apply(connector.as_ref(), delete(&id, Owned::Archive)).await;
        assert_eq!(connector.find(&named(person), &NONE).await.expect("an answer"), None);
    }
    for name in ["engine", &format!("{bob}-engine")] {
        let repository = forge.repository("usher-admin", name).await.unwrap_or_else(|| panic!("{name} is lost"));
        assert!(repository["archived"] == true && repository["private"] == true, "{repository}");
        let (username, password) = forge.administrator();
        let url = forge.git.https(username, password, &format!("{username}/{name}"));
        let there = said(&forge.git.run(None, &["ls-remote", &url]).await);
        assert!(there.contains("refs/heads/main"), "with all that was pushed: {there}");
    }
}

/// Names that the heir has already, and heirs that are none.
#[tokio::test]
async fn what_cannot_be_handed_over_is_named() {
    let forge = Forge::start().await;
    let [ada, museum] = &["ada", "museum"].map(|name| forge.login(name));
    let connector = forge.usher();
    let (id, password) = made(connector.as_ref(), ada).await;
    forge.own(ada, &password).await;
    let heir = forge.make_heir().await;
    forge.own(&heir, PASSWORD).await;
    let taken = format!("engine cannot go to {heir}");
    for (owned, words) in [(Owned::Transfer(heir), taken.as_str()), (Owned::Transfer(ada.clone()), "the account itself")] {
        let error = refused(connector.as_ref(), &delete(&id, owned)).await;
        assert!(matches!(error, ConnectorError::Rejected { .. }) && error.to_string().contains(words), "{}", error.chain());
    }
    assert!(forge.repository(ada, "engine").await.is_some());
    forge.make_team(museum, "keepers").await;
    apply(connector.as_ref(), delete(&id, Owned::Transfer(museum.clone()))).await;
    assert!(forge.repository(museum, "engine").await.is_some(), "an organization may get it");
}

/// Gitea's API moves no packages.
#[tokio::test]
async fn packages_keep_the_account() {
    let forge = Forge::start().await;
    let ada = &forge.login("ada");
    let connector = forge.usher();
    let (id, password) = made(connector.as_ref(), ada).await;
    let put = async |method: &str| {
        let url = format!("{}/api/packages/{ada}/generic/tables/1.0/log.txt", forge.system.env("URL"));
        let request = forge.client.request(method.parse().expect("a method"), url).basic_auth(ada, Some(&password)).body("0.301");
        let status = request.send().await.expect("an answer").status();
        assert!(status.is_success(), "{status}");
    };
    put("PUT").await;
    for owned in [Owned::Keep, Owned::Archive] {
        let error = refused(connector.as_ref(), &delete(&id, owned)).await;
        assert!(matches!(error, ConnectorError::OwnsObjects { .. }) && error.to_string().contains("package tables"), "{}", error.chain());
    }
    put("DELETE").await;
    apply(connector.as_ref(), delete(&id, Owned::Keep)).await;
}
