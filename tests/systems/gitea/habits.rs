//! What Gitea does with accounts that others do not.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::process::Command;
use usher::connectors::Connector;
use usher::connectors::error::ConnectorError;
use usher::plan::account::{AccountChange, AccountState, Capability, Managed, Profile, PublicKey};

use super::web::Session;
use super::{By, Forge, LEAST, PASSWORD};
use crate::conformance::{Target, known, made, named, owner, profile, read};
use crate::support::systems::git::said;

const NONE: Managed = Managed::Only(BTreeSet::new());

pub async fn apply(connector: &dyn Connector, change: AccountChange) {
    connector.apply(&change).await.unwrap_or_else(|error| panic!("{change:?}: {}", error.chain()));
}

/// Every write of an account must repeat its login name, which is the mark.
#[tokio::test]
async fn no_write_wipes_what_it_does_not_speak_of() {
    let forge = Forge::start().await;
    let ada = &forge.login("ada");
    let id = forge.make_stranger(ada, &format!("{ada}@example.com")).await;
    let own = json!({
        "full_name": "Ada", "location": "London", "website": "https://example.com", "description": "Countess", "visibility": "private",
        "restricted": true, "max_repo_creation": 7, "allow_create_organization": false, "login_name": "of-old",
    });
    forge.edit(ada, own).await;
    let bare = forge.send(By::Administrator, "PATCH", &format!("/admin/users/{ada}"), json!({ "full_name": "Ada" })).await;
    assert!(bare.status == 422 && bare.body.to_string().contains("LoginName"), "without it a write is refused: {}", bare.body);
    let kept = async || {
        let user = forge.user(ada).await;
        let names = ["login", "full_name", "email", "location", "website", "description", "visibility", "restricted", "source_id"];
        names.map(|name| user[name].clone())
    };
    let before = kept().await;
    let proxy = forge.proxy().await;
    let connector = forge.behind(&proxy);
    apply(connector.as_ref(), AccountChange::Adopt { id: id.clone(), owner: owner(ada) }).await;
    let account = read(connector.as_ref(), &id, &NONE).await;
    for change in [
        AccountChange::SetProfile { id: id.clone(), profile: account.profile.clone() },
        AccountChange::SetEnabled { id: id.clone(), enabled: false },
        AccountChange::RevokeCredentials { id: id.clone() },
        AccountChange::SetEnabled { id: id.clone(), enabled: true },
        AccountChange::IssuePassword { id: id.clone() },
    ] {
        apply(connector.as_ref(), change.clone()).await;
        assert_eq!(kept().await, before, "after {change:?}");
        assert_eq!(read(connector.as_ref(), &id, &NONE).await.owner, Some(owner(ada)), "after {change:?}");
    }
    let patches: Vec<Value> = proxy.asked().iter().filter(|asked| asked.method == "PATCH").map(crate::proxy::Asked::json).collect();
    assert!(patches.len() >= 4 && patches.iter().all(|patch| patch["login_name"].is_string() && patch["source_id"] == 0), "{patches:?}");
}

/// All that a person may say of herself, by the API and on the pages, leaves the mark alone.
#[tokio::test]
async fn she_cannot_change_her_mark() {
    let forge = Forge::start().await;
    let [ada, eve] = &["ada", "eve"].map(|name| forge.login(name));
    let connector = forge.usher();
    let (id, password) = made(connector.as_ref(), ada).await;
    let forged = json!({ "full_name": "Countess", "login_name": owner(eve).mark(), "source_id": 0, "email": format!("{eve}@example.com") });
    forge.as_one(By::Password(ada, &password), "PATCH", "/user/settings", forged).await;
    let mut session = Session::open(&forge, ada, &password).await;
    let mark = owner(eve).mark();
    session.post("/user/settings", &[("name", ada), ("full_name", "Countess"), ("login_name", &mark), ("visibility", "0")]).await;
    let account = read(connector.as_ref(), &id, &NONE).await;
    assert_eq!(
        (account.profile.display_name.as_str(), account.profile.email.as_str()),
        ("Countess", format!("{ada}@example.com").as_str())
    );
    assert_eq!(account.owner, Some(owner(ada)));
}

/// Gitea makes those whose password an administrator set choose another one on a page first, unless it is told not to.
#[tokio::test]
async fn a_password_that_was_issued_pushes_at_once() {
    let forge = Forge::start().await;
    let [ada, bob] = &["ada", "bob"].map(|name| forge.login(name));
    let connector = forge.usher();
    let (_, password) = made(connector.as_ref(), ada).await;
    forge.own(ada, &password).await;
    assert!(forge.git.pushes(None, &forge.git.https(ada, &password, &format!("{ada}/engine"))).await, "to a private repository");
    let id = forge.make_stranger(bob, &format!("{bob}@example.com")).await;
    forge.edit(bob, json!({ "password": PASSWORD, "must_change_password": true })).await;
    assert!(!forge.log_in(bob, PASSWORD).await, "he would have to choose another one");
    apply(connector.as_ref(), AccountChange::Adopt { id: id.clone(), owner: owner(bob) }).await;
    let issued = connector.apply(&AccountChange::IssuePassword { id }).await.expect("issued").password.expect("a password");
    let password = secrecy::ExposeSecret::expose_secret(&issued).to_owned();
    forge.own(bob, &password).await;
    assert!(forge.git.pushes(None, &forge.git.https(bob, &password, &format!("{bob}/engine"))).await);
}

#[tokio::test]
async fn refusals_say_what_is_wrong() {
    let forge = Forge::start().await;
    let [ada, bob, eve, guild] = &["ada", "bob", "eve", "guild"].map(|name| forge.login(name));
    let [ada_mail, bob_mail, eve_mail] = &[ada, bob, eve].map(|name| format!("{name}@example.com"));
    let connector = forge.usher();
    let id = forge.make_stranger(ada, ada_mail).await;
    forge.make_stranger(&bob.to_uppercase(), &bob_mail.to_uppercase()).await;
    let second = json!({ "emails": [format!("second.{bob_mail}")] });
    forge.as_one(By::Password(bob, PASSWORD), "POST", "/user/emails", second).await;
    forge.make_team(guild, "developers").await;
    let nowhere = &format!("{guild}/nowhere");
    let made = |username: &str, email: &str| AccountChange::Create {
        profile: Profile { email: email.to_owned(), ..connector.keeps(profile(username)) },
        owner: owner(eve),
    };
    let told = |username: &str, email: &str| AccountChange::SetProfile {
        id: id.clone(),
        profile: Profile { username: username.to_owned(), email: email.to_owned(), ..connector.keeps(profile(ada)) },
    };
    let join = |group: &str| AccountChange::Join { id: id.clone(), group: group.to_owned() };
    let key = PublicKey { title: "usher: laptop".to_owned(), key: "ssh-ed25519 AAAA".to_owned() };
    let keyed = Profile { ssh_keys: BTreeSet::from([key]), ..connector.keeps(profile(ada)) };
    for (change, words) in [
        (made(bob, eve_mail), "the name is taken"),
        (made(guild, eve_mail), "the name is taken by an organization"),
        (made(eve, bob_mail), "e-mail already in use"),
        (made(eve, &format!("Second.{bob_mail}")), "e-mail already in use"),
        (made("e..e", eve_mail), "invalid username"),
        (made("admin", "no address"), "mail"),
        (told(bob, ada_mail), "the name is taken"),
        (told(ada, bob_mail), "e-mail already in use"),
        (AccountChange::SetProfile { id: id.clone(), profile: keyed }, "usher: laptop"),
        (join(guild), "organization/team"),
        (join(nowhere), nowhere),
        (join("nowhere/developers"), "nowhere/developers"),
        (join(&format!("{guild}/../developers")), "there is no group"),
        (AccountChange::CancelInvite { id: id.clone() }, "no invitations"),
        (AccountChange::IssuePassword { id: "../1".to_owned() }, "no such account"),
        (AccountChange::SetEnabled { id: "777777".to_owned(), enabled: true }, "no such account"),
    ] {
        let error = connector.apply(&change).await.expect_err("it is refused");
        assert!(matches!(error, ConnectorError::Rejected { .. }) && error.to_string().contains(words), "{change:?}: {}", error.chain());
    }
    assert_eq!(connector.find(&named(guild), &NONE).await.expect("an answer"), None, "an organization is nobody");
}

/// Her own keys are hers, until what was issued is revoked. A key can be at a server once only.
#[tokio::test]
async fn keys_that_she_installed_are_left_alone() {
    let forge = Forge::start().await;
    let [ada, bob] = &["ada", "bob"].map(|name| forge.login(name));
    let connector = forge.usher();
    let (id, password) = made(connector.as_ref(), ada).await;
    let (own, public) = forge.git.key().await;
    let (wanted, other) = forge.git.key().await;
    for (title, key) in [("laptop", &public), ("of another tool", &other)] {
        forge.as_one(By::Password(ada, &password), "POST", "/user/keys", json!({ "title": title, "key": key })).await;
    }
    let key = PublicKey { title: "usher: laptop".to_owned(), key: other.clone() };
    let with = connector.keeps(Profile { ssh_keys: BTreeSet::from([key]), ..profile(ada) });
    apply(connector.as_ref(), AccountChange::SetProfile { id: id.clone(), profile: with.clone() }).await;
    assert_eq!(read(connector.as_ref(), &id, &NONE).await.profile, with, "one that is wanted becomes usher's");
    let listed = connector.list(&NONE).await.expect("a list").into_iter().find(|it| it.id == id).expect("she is listed");
    assert_eq!(listed.profile, with);
    assert!(forge.git.opens(&own).await && forge.git.opens(&wanted).await);
    apply(connector.as_ref(), AccountChange::SetProfile { id: id.clone(), profile: connector.keeps(profile(ada)) }).await;
    assert!(forge.git.opens(&own).await && !forge.git.opens(&wanted).await);
    // Whose key it is already cannot be hers.
    let (bob_id, _) = made(connector.as_ref(), bob).await;
    let taken = PublicKey { title: "usher: laptop".to_owned(), key: public };
    let profile = connector.keeps(Profile { ssh_keys: BTreeSet::from([taken]), ..profile(bob) });
    let error = connector.apply(&AccountChange::SetProfile { id: bob_id, profile }).await.expect_err("it is taken");
    assert!(matches!(error, ConnectorError::Rejected { .. }) && error.to_string().contains("usher: laptop"), "{}", error.chain());
}

/// Where a login source keeps its own name of somebody there is no room for a mark.
#[tokio::test]
async fn who_logs_in_by_another_source_is_not_taken_over() {
    let forge = Forge::alone().await;
    let connector = forge.usher();
    let id = forge.make_stranger("ada", "ada@example.com").await;
    let source = ["--config", forge.system.env("CONFIG"), "admin", "auth", "add-oauth", "--name", "sso"];
    let more = ["--provider", "github", "--key", "usher", "--secret", "of-a-test"];
    let added = Command::new(forge.system.env("BIN")).args(source).args(more).output().await.expect("it runs");
    assert!(added.status.success(), "{}", said(&added));
    // A name there that looks like a mark is none.
    forge.edit("ada", json!({ "login_name": owner("ada").mark() })).await;
    let user = json!({ "login_name": owner("ada").mark(), "source_id": 1 });
    forge.admin("PATCH", "/admin/users/ada", user).await;
    assert_eq!(read(connector.as_ref(), &id, &NONE).await.owner, None);
    for change in [AccountChange::Adopt { id: id.clone(), owner: owner("ada") }, AccountChange::IssuePassword { id: id.clone() }] {
        let error = connector.apply(&change).await.expect_err("it is refused");
        assert!(matches!(error, ConnectorError::Rejected { .. }) && error.to_string().contains("source 1"), "{}", error.chain());
    }
    apply(connector.as_ref(), AccountChange::SetEnabled { id, enabled: false }).await;
    let user = forge.user("ada").await;
    assert_eq!((&user["source_id"], &user["login_name"]), (&json!(1), &json!(owner("ada").mark())), "that stays as it is");
}

/// Who is told of by one administrator must be hidden from nobody: private and inactive people are found, listed and made to work.
#[tokio::test]
async fn nobody_hides() {
    let forge = Forge::start().await;
    let ada = &forge.login("ada");
    let connector = forge.usher();
    let id = forge.make_stranger(ada, &format!("{}@Example.com", ada.to_uppercase())).await;
    forge.edit(ada, json!({ "visibility": "private", "active": false })).await;
    let account = connector.find(&known(&id, "nobody"), &NONE).await.expect("an answer").expect("an account");
    assert_eq!(account.state, AccountState::Disabled);
    let by_email = usher::plan::account::AccountKey { email: Some(format!("{ada}@example.com")), ..named("nobody") };
    assert_eq!(connector.find(&by_email, &NONE).await.expect("an answer").expect("an account").id, id);
    assert!(connector.list(&NONE).await.expect("a list").iter().any(|it| it.id == id));
    apply(connector.as_ref(), AccountChange::SetEnabled { id: id.clone(), enabled: true }).await;
    assert!(forge.log_in(ada, PASSWORD).await);
    let administrators = connector.list(&NONE).await.expect("a list").into_iter().filter(|it| it.administrator);
    assert_eq!(administrators.map(|it| it.profile.username).collect::<Vec<_>>(), ["usher-admin"], "usher's own is one");
}

#[tokio::test]
async fn what_a_token_lacks_is_named() {
    let forge = Forge::start().await;
    let ada = &forge.login("ada");
    let (url, ca) = (forge.system.env("URL"), forge.ca.as_str());
    for left_out in LEAST {
        let scopes: Vec<&str> = LEAST.into_iter().filter(|scope| *scope != left_out).collect();
        let token = forge.token_of(forge.administrator(), &format!("without-{left_out}"), &scopes).await;
        let error = forge.connect(url, ca, &token).probe().await.expect_err("it may not");
        let told = error.chain();
        assert!(matches!(error, ConnectorError::Unauthorized { .. }) && told.contains(left_out.trim_start_matches("write:")), "{told}");
    }
    let token = forge.token_of(forge.administrator(), "public", &[&LEAST[..], &["public-only"]].concat()).await;
    let told = forge.connect(url, ca, &token).probe().await.expect_err("it sees half").chain();
    assert!(told.contains("public"), "{told}");
    forge.make_stranger(ada, &format!("{ada}@example.com")).await;
    let token = forge.token_of((ada, PASSWORD), "usher", &["all"]).await;
    let error = forge.connect(url, ca, &token).probe().await.expect_err("she is nobody");
    assert!(
        matches!(error, ConnectorError::Unauthorized { .. }) && error.chain().contains(&format!("{ada} is no administrator")),
        "{}",
        error.chain()
    );
    let token = forge.token_of(forge.administrator(), "everything", &["all"]).await;
    forge.connect(url, ca, &token).probe().await.expect("it may");
    assert!(forge.usher().probe().await.expect("so little is enough").contains(&Capability::RevokeTokens));
}

/// A server that tells tokens to those alone who come with a password is taken at its word.
#[tokio::test]
async fn a_server_that_tells_no_tokens_is_not_said_to_revoke_them() {
    let forge = Forge::start().await;
    let ada = &forge.login("ada");
    let proxy = forge.proxy().await;
    proxy.instead(|asked| {
        let tokens = asked.path.split('?').next().is_some_and(|path| path.contains("/tokens"));
        tokens.then(|| crate::proxy::Told::json(401, &json!({ "message": "auth required" })))
    });
    let connector = forge.behind(&proxy);
    assert!(!connector.probe().await.expect("it answers").contains(&Capability::RevokeTokens));
    let create = AccountChange::Create { profile: connector.keeps(profile(ada)), owner: owner(ada) };
    let id = connector.apply(&create).await.expect("made").id.expect("an id");
    assert!(read(connector.as_ref(), &id, &NONE).await.credentials, "nobody knows");
    let error = connector.apply(&AccountChange::RevokeCredentials { id }).await.expect_err("it cannot");
    assert!(matches!(error, ConnectorError::Rejected { .. }), "{}", error.chain());
}
