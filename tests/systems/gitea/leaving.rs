//! What locks out and what is revoked: each sort of thing that lets somebody in, with real git.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};
use usher::plan::account::{AccountChange, Managed};

use super::habits::apply;
use super::web::Session;
use super::{By, Forge, PASSWORD};
use crate::conformance::{Target, made, owner, read};

const NONE: Managed = Managed::Only(BTreeSet::new());

/// A key that signs commits as ada@example.com, whose private half is nobody's any more.
const SIGNS: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEZZIAgBYJKwYBBAHaRw8BAQdAHY9B+pTLAKl+Onrze3o8lWfOIYHBbDxUipjc
zg964xK0FUFkYSA8YWRhQGV4YW1wbGUuY29tPoiQBBMWCAA4FiEEPAZiuNGNK9s4
JVV/4O1T4v+GA18FAmWSAIACGwMFCwkIBwIGFQoJCAsCBBYCAwECHgECF4AACgkQ
4O1T4v+GA1/JjgEA2rgz+oT121t8WfUrzO2ssl4WmcIu6rivCt8pss1Di8cA/RUo
NkKe56mm2ZKaI5PGByX1f9tY0FJ5jD9Ot0wnyTIA
=CE++
-----END PGP PUBLIC KEY BLOCK-----
";

/// All that lets somebody in.
struct Ways<'a> {
    forge: &'a Forge,
    username: &'a str,
    password: String,
    token: String,
    key: PathBuf,
    session: Session<'a>,
}

impl<'a> Ways<'a> {
    async fn of(forge: &'a Forge, username: &'a str, password: String) -> Self {
        let token = forge.token_of((username, &password), "hers", &["all"]).await;
        let (key, public) = forge.git.key().await;
        forge.as_one(By::Token(&token), "POST", "/user/keys", json!({ "title": "hers", "key": public })).await;
        let session = Session::open(forge, username, &password).await;
        Self { forge, username, password, token, key, session }
    }

    /// Those that work by now.
    async fn that_work(&self) -> Vec<&'static str> {
        let Self { forge, username, .. } = *self;
        let pushes = async |key, url: String| forge.git.pushes(key, &url).await;
        let engine = &format!("{username}/engine");
        let all = [
            ("password", forge.log_in(username, &self.password).await),
            ("password over HTTPS", pushes(None, forge.git.https(username, &self.password, engine)).await),
            ("token", forge.takes(&self.token).await),
            ("token over HTTPS", pushes(None, forge.git.https(username, &self.token, engine)).await),
            ("key over SSH", pushes(Some(self.key.as_path()), forge.git.ssh(engine)).await),
            ("session", self.session.works().await),
        ];
        all.into_iter().filter_map(|(way, works)| works.then_some(way)).collect()
    }
}

const ALL: [&str; 6] = ["password", "password over HTTPS", "token", "token over HTTPS", "key over SSH", "session"];

/// A lock-out refuses all of it and keeps all of it; what is revoked never comes back. Gitea has no way to end a session: it is refused as long as she is locked
/// out, as docs/reference/providers/gitea.md tells.
#[tokio::test]
async fn every_way_in_is_closed_at_once() {
    let forge = Forge::start().await;
    let ada = &forge.login("ada");
    let connector = forge.usher();
    let (id, password) = made(connector.as_ref(), ada).await;
    forge.own(ada, &password).await;
    let ways = Ways::of(&forge, ada, password).await;
    let set = |enabled| AccountChange::SetEnabled { id: id.clone(), enabled };
    assert_eq!(ways.that_work().await, ALL);
    apply(connector.as_ref(), set(false)).await;
    assert_eq!(ways.that_work().await, Vec::<&str>::new(), "locked out");
    apply(connector.as_ref(), set(true)).await;
    assert_eq!(ways.that_work().await, ALL, "let in again");
    apply(connector.as_ref(), set(false)).await;
    apply(connector.as_ref(), AccountChange::RevokeCredentials { id: id.clone() }).await;
    assert_eq!(ways.that_work().await, Vec::<&str>::new(), "revoked");
    apply(connector.as_ref(), set(true)).await;
    assert_eq!(ways.that_work().await, ["session"], "let in again, as somebody new");
}

/// A browser that remembers her is a way in of its own.
#[tokio::test]
async fn who_is_remembered_is_forgotten() {
    let forge = Forge::start().await;
    let ada = &forge.login("ada");
    let connector = forge.usher();
    let (id, password) = made(connector.as_ref(), ada).await;
    let one = Session::remembered(&forge, ada, &password).await;
    let other = Session::remembered(&forge, ada, &password).await;
    assert!(one.passes_the_form().await, "it needs no password");
    apply(connector.as_ref(), AccountChange::SetEnabled { id: id.clone(), enabled: false }).await;
    apply(connector.as_ref(), AccountChange::RevokeCredentials { id: id.clone() }).await;
    apply(connector.as_ref(), AccountChange::SetEnabled { id, enabled: true }).await;
    assert!(!other.passes_the_form().await);
}

/// Each sort of what may let her in counts, and none is left.
#[tokio::test]
async fn every_sort_of_what_was_issued_is_told_and_revoked() {
    let forge = Forge::start().await;
    let ada = &forge.login("ada");
    let connector = forge.usher();
    let id = forge.make_stranger(ada, "ada@example.com").await;
    let told = async || read(connector.as_ref(), &id, &NONE).await.credentials;
    let revoke = async || apply(connector.as_ref(), AccountChange::RevokeCredentials { id: id.clone() }).await;
    apply(connector.as_ref(), AccountChange::Adopt { id: id.clone(), owner: owner(ada) }).await;
    assert!(told().await, "nobody knows what a stranger has");
    revoke().await;
    assert!(!told().await);
    assert!(!forge.log_in(ada, PASSWORD).await);
    forge.edit(ada, json!({ "password": PASSWORD, "must_change_password": false })).await;
    let her = By::Password(ada, PASSWORD);
    let token = forge.token_of((ada, PASSWORD), "hers", &["read:user"]).await;
    assert!(told().await, "she has a token");
    let (_, public) = forge.git.key().await;
    forge.as_one(her, "POST", "/user/keys", json!({ "title": "hers", "key": public })).await;
    forge.as_one(her, "DELETE", &format!("/users/{ada}/tokens/hers"), Value::Null).await;
    assert!(told().await, "she has a key");
    let application = json!({ "name": "hers", "redirect_uris": ["https://app.example.com/"], "confidential_client": true });
    forge.as_one(her, "POST", "/user/applications/oauth2", application).await;
    forge.as_one(her, "POST", "/user/gpg_keys", json!({ "armored_public_key": SIGNS })).await;
    forge.as_one(her, "POST", "/user/emails", json!({ "emails": [format!("{ada}@private.example")] })).await;
    revoke().await;
    assert!(!told().await && !forge.takes(&token).await && !forge.log_in(ada, PASSWORD).await);
    forge.edit(ada, json!({ "password": PASSWORD, "must_change_password": false })).await;
    for path in ["/user/keys", "/user/gpg_keys", "/user/applications/oauth2", &format!("/users/{ada}/tokens")] {
        assert_eq!(forge.as_one(her, "GET", path, Value::Null).await, json!([]), "{path}");
    }
    let addresses = forge.as_one(her, "GET", "/user/emails", Value::Null).await;
    assert_eq!(addresses.as_array().map(Vec::len), Some(1), "to another one a new password could be sent: {addresses}");
}

/// Nobody tells whether she made herself something while she was let in: so it is looked at once she is locked out.
#[tokio::test]
async fn who_was_let_in_is_revoked_again() {
    let forge = Forge::start().await;
    let ada = &forge.login("ada");
    let connector = forge.usher();
    let (id, _) = made(connector.as_ref(), ada).await;
    apply(connector.as_ref(), AccountChange::RevokeCredentials { id: id.clone() }).await;
    assert!(!read(connector.as_ref(), &id, &NONE).await.credentials);
    forge.edit(ada, json!({ "password": PASSWORD, "must_change_password": false })).await;
    apply(connector.as_ref(), AccountChange::SetEnabled { id: id.clone(), enabled: false }).await;
    assert!(read(connector.as_ref(), &id, &NONE).await.credentials);
    let listed = connector.list(&NONE).await.expect("a list").into_iter().find(|it| it.id == id).expect("she is listed");
    assert!(listed.credentials);
    apply(connector.as_ref(), AccountChange::RevokeCredentials { id: id.clone() }).await;
    apply(connector.as_ref(), AccountChange::SetEnabled { id, enabled: true }).await;
    assert!(!forge.log_in(ada, PASSWORD).await);
}

/// What she allowed to an application of somebody else's is refused as long as she is locked out. Gitea's API has no way to take it back, as
/// docs/reference/providers/gitea.md tells.
#[tokio::test]
async fn applications_that_she_allowed_are_locked_out_with_her() {
    let forge = Forge::start().await;
    let [ada, bob] = &["ada", "bob"].map(|name| forge.login(name));
    let connector = forge.usher();
    let (id, password) = made(connector.as_ref(), ada).await;
    forge.make_stranger(bob, &format!("{bob}@example.com")).await;
    let home = "https://app.example.com/";
    let application = json!({ "name": "of bob", "redirect_uris": [home], "confidential_client": true });
    let application = forge.as_one(By::Password(bob, PASSWORD), "POST", "/user/applications/oauth2", application).await;
    let client = [
        ("client_id", application["client_id"].as_str().expect("an id")),
        ("client_secret", application["client_secret"].as_str().expect("a secret")),
    ];
    let mut session = Session::open(&forge, ada, &password).await;
    let asked = format!("/login/oauth/authorize?client_id={}&redirect_uri={home}&response_type=code&state=s", client[0].1);
    assert!(session.page(&asked).await.contains("authorize-app"), "she is asked");
    let granted = [client[0], ("redirect_uri", home), ("state", "s"), ("scope", ""), ("nonce", ""), ("granted", "true")];
    let (_, location) = session.post("/login/oauth/grant", &granted).await;
    let code = location.split("code=").nth(1).and_then(|rest| rest.split('&').next()).expect(&location).to_owned();
    let exchange = async |more: &[(&str, &str)]| {
        let form: Vec<(&str, &str)> = client.into_iter().chain(more.iter().copied()).collect();
        session.post_for_json("/login/oauth/access_token", &form).await
    };
    let tokens = exchange(&[("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", home)]).await;
    let token = tokens["access_token"].as_str().expect("a token");
    assert!(forge.takes(token).await, "{tokens}");
    apply(connector.as_ref(), AccountChange::SetEnabled { id: id.clone(), enabled: false }).await;
    assert!(!forge.takes(token).await);
    let fresh = exchange(&[("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().expect("a token"))]).await;
    if let Some(fresh) = fresh["access_token"].as_str() {
        assert!(!forge.takes(fresh).await, "nor what it gets meanwhile");
    }
    apply(connector.as_ref(), AccountChange::RevokeCredentials { id: id.clone() }).await;
    assert!(!forge.takes(token).await);
    apply(connector.as_ref(), AccountChange::SetEnabled { id, enabled: true }).await;
    assert!(forge.takes(token).await, "should this fail one day, the page has to be changed, as Gitea can do more");
}
