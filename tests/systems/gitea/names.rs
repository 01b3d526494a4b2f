//! Names that change, and long lists.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use usher::plan::account::{AccountChange, Managed, Profile, PublicKey};

use super::habits::apply;
use super::web::Session;
use super::{By, Forge};
use crate::conformance::{Target, known, made, named, owner, profile, read};

const NONE: Managed = Managed::Only(BTreeSet::new());

/// Gitea sends who asks for an old name to the new one, and somebody else may take the old one.
#[tokio::test]
async fn who_renames_herself_is_still_herself() {
    let forge = Forge::start().await;
    let [ada, countess] = &["ada", "countess"].map(|name| forge.login(name));
    let connector = forge.usher();
    let (id, password) = made(connector.as_ref(), ada).await;
    let mut session = Session::open(&forge, ada, &password).await;
    let (status, _) = session.post("/user/settings", &[("name", countess), ("full_name", "Ada"), ("visibility", "0")]).await;
    assert_eq!(status, 303);
    assert_eq!(forge.send(By::Administrator, "GET", &format!("/users/{ada}"), Value::Null).await.status, 307, "it leads elsewhere");
    let account = connector.find(&known(&id, ada), &NONE).await.expect("an answer").expect("an account");
    assert_eq!((account.id.as_str(), account.profile.username.as_str()), (id.as_str(), countess.as_str()));
    assert_eq!(account.owner, Some(owner(ada)));
    assert_eq!(connector.find(&named(ada), &NONE).await.expect("an answer"), None, "nobody has that name");
    // All that is done is done to her.
    apply(connector.as_ref(), AccountChange::SetEnabled { id: id.clone(), enabled: false }).await;
    assert!(!forge.log_in(countess, &password).await);
    apply(connector.as_ref(), AccountChange::SetEnabled { id: id.clone(), enabled: true }).await;
    // Nor is it done to whoever has her old name by now.
    let other = forge.make_stranger(ada, &format!("{ada}@elsewhere.example")).await;
    apply(connector.as_ref(), AccountChange::RevokeCredentials { id: id.clone() }).await;
    assert!(forge.log_in(ada, super::PASSWORD).await && !forge.log_in(countess, &password).await);
    let back = AccountChange::SetProfile { id: id.clone(), profile: connector.keeps(profile(ada)) };
    let error = connector.apply(&back).await.expect_err("the name is another's");
    assert!(error.to_string().contains("the name is taken"), "{}", error.chain());
    assert_eq!(read(connector.as_ref(), &other, &NONE).await.owner, None);
}

/// Addresses that she added are no obstacle to becoming her first one.
#[tokio::test]
async fn an_address_of_her_own_becomes_her_first_one() {
    let forge = Forge::start().await;
    let ada = &forge.login("ada");
    let connector = forge.usher();
    let (id, password) = made(connector.as_ref(), ada).await;
    let [king, private] = ["king.example", "private.example"].map(|place| format!("{ada}@{place}"));
    let hers = json!({ "emails": [king, private] });
    forge.as_one(By::Password(ada, &password), "POST", "/user/emails", hers).await;
    let married = Profile { email: king.clone(), ..connector.keeps(profile(ada)) };
    apply(connector.as_ref(), AccountChange::SetProfile { id: id.clone(), profile: married.clone() }).await;
    assert_eq!(read(connector.as_ref(), &id, &NONE).await.profile, married);
    let addresses = async || {
        let told = forge.as_one(By::Password(ada, &password), "GET", "/user/emails", Value::Null).await;
        told.as_array().expect("addresses").iter().map(|it| it["email"].as_str().expect("text").to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(addresses().await, BTreeSet::from([king, private]), "and the other one stays");
}

/// A look at everybody costs pages of 50, and one look at each into whose account usher put keys: no list tells those.
#[tokio::test]
async fn a_list_costs_pages() {
    let forge = Forge::alone().await;
    forge.make_crowd(240).await;
    forge.make_team("guild", "developers").await;
    let proxy = forge.proxy().await;
    let connector = forge.behind(&proxy);
    let (_, key) = forge.git.key().await;
    let key = PublicKey { title: "usher: laptop".to_owned(), key };
    let keyed = connector.keeps(Profile { ssh_keys: BTreeSet::from([key]), ..profile("ada") });
    for (profile, person) in [(keyed, "ada"), (connector.keeps(profile("bob")), "bob")] {
        let id = connector.apply(&AccountChange::Create { profile, owner: owner(person) }).await.expect("made").id.expect("an id");
        apply(connector.as_ref(), AccountChange::Join { id, group: "guild/developers".to_owned() }).await;
    }
    proxy.forget();
    let managed = Managed::Only(BTreeSet::from(["guild/developers".to_owned(), "nowhere/developers".to_owned()]));
    let all = connector.list(&managed).await.expect("a list");
    assert_eq!(all.len(), 243, "with usher's own");
    assert_eq!(all.iter().filter(|account| account.groups.contains("guild/developers")).count(), 2);
    let mut counts = proxy.counts();
    assert_eq!(counts.remove("GET /api/v1/admin/users"), Some(6), "five pages, and the first one again");
    assert_eq!(counts.remove("GET /api/v1/users/ada/keys"), Some(1));
    assert_eq!(counts.values().sum::<usize>(), 3, "teams of two organizations, and the members of one team: {counts:?}");
}

/// People leave and come while the list is read: nobody who stays is missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_moves_misses_nobody() {
    let forge = Arc::new(Forge::alone().await);
    forge.make_crowd(240).await;
    let proxy = forge.proxy().await;
    let connector = forge.behind(&proxy);
    let (other, done) = (forge.clone(), AtomicBool::new(false));
    // By now the first page and the last ones were read.
    proxy.instead(move |asked| {
        if asked.path.contains("/admin/users?") && asked.path.contains("page=3") && !done.swap(true, Ordering::Relaxed) {
            let meanwhile = async {
                for number in [1, 70, 130, 239] {
                    other.admin("DELETE", &format!("/admin/users/stranger-{number}"), Value::Null).await;
                }
                other.make_stranger("aaron", "aaron@example.com").await;
            };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(meanwhile));
        }
        None
    });
    let all = connector.list(&NONE).await.expect("a list");
    let names: BTreeSet<&str> = all.iter().map(|account| account.profile.username.as_str()).collect();
    let stay = (0..240).filter(|number| ![1, 70, 130, 239].contains(number)).map(|number| format!("stranger-{number}"));
    let missed: Vec<String> = stay.filter(|name| !names.contains(name.as_str())).collect();
    assert_eq!(missed, Vec::<String>::new());
}
