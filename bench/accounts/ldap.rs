//! A bare client of a directory: the requests that the connector has for a new account, and nothing else.

use std::collections::HashSet;

use ldap3::controls::{MatchedValues, PostRead};
use ldap3::exop::PasswordModify;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, Mod, Scope, SearchEntry};
use usher::connectors::tls;

use super::person::Somebody;
use super::places::Place;

/// How many requests a person takes.
pub const REQUESTS: usize = 12;
/// What is a group, and what is asked of groups and of people.
const GROUPS: &str = "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=groupOfMembers)(objectClass=posixGroup))";
const OF_GROUPS: [&str; 5] = ["objectClass", "cn", "member", "uniqueMember", "memberUid"];
const OF_PEOPLE: [&str; 11] = [
    "entryUUID",
    "entryCSN",
    "objectClass",
    "uid",
    "cn",
    "displayName",
    "mail",
    "userPassword",
    "sshPublicKey",
    "pwdAccountLockedTime",
    "employeeType",
];
const NOBODY: &str = "cn=empty-membership-placeholder";

/// A connection, bound as usher.
pub async fn session(place: &Place) -> Ldap {
    let settings = LdapConnSettings::new().set_config(tls::config(Some(&place.ca)).expect("a CA").into());
    let (connection, mut ldap) = LdapConnAsync::with_settings(settings, place.url()).await.expect("a connection");
    tokio::spawn(async move { drop(connection.drive().await) });
    let bound = ldap.simple_bind(place.settings["bindDN"].as_str().expect("a name"), &place.credential).await;
    bound.expect("an answer").success().expect("usher is let in");
    ldap
}

/// Makes an account.
pub async fn make(ldap: &Ldap, place: &Place, somebody: &Somebody) {
    let (base, groups) = (text(place, "baseDN"), text(place, "groupBaseDN"));
    let (login, dn) = (&somebody.username, format!("uid={},{base}", somebody.username));
    let by_login = format!("(|(uid={login}))");
    let names_her = format!("(member={dn})(uniqueMember={dn})(memberUid={login})");
    let mine = format!("(&{GROUPS}(|(cn={}))(|{names_her}))", place.group);
    assert!(search(ldap, base, &by_login, &OF_PEOPLE, None).await.is_empty(), "{login} is there already");

    let any = format!("(&{GROUPS}(|{names_her}))");
    search(ldap, groups, &any, &OF_GROUPS, Some(format!("((objectClass=*){names_her})"))).await;
    let made = ldap.clone().with_controls(PostRead::new(vec!["entryUUID"])).add(&dn, entry(somebody)).await;
    made.expect("an answer").success().expect("made");
    let id = search(ldap, base, &by_login, &OF_PEOPLE, None).await.remove(0).attrs.remove("entryUUID").expect("an id").remove(0);
    search(ldap, groups, &mine, &["cn"], None).await;

    let (by_id, by_name) = (format!("(entryUUID={id})"), format!("(&{GROUPS}(cn={}))", place.group));
    let placeholder = format!("((objectClass=*)(member={NOBODY})(uniqueMember={NOBODY}))");
    let (_, found) =
        tokio::join!(search(ldap, base, &by_id, &OF_PEOPLE, None), search(ldap, groups, &by_name, &OF_GROUPS, Some(placeholder)));
    let group = &found[0].dn;
    ldap.clone().modify(group, vec![Mod::Add("member", HashSet::from([dn.as_str()]))]).await.expect("an answer").success().expect("joined");

    search(ldap, base, &by_id, &OF_PEOPLE, None).await;
    let password = PasswordModify { user_id: Some(&dn), old_pass: None, new_pass: Some("a-password-as-long-as-those-of-usher") };
    ldap.clone().extended(password).await.expect("an answer").success().expect("a password");
    search(ldap, base, &by_login, &OF_PEOPLE, None).await;
    assert_eq!(search(ldap, groups, &mine, &["cn"], None).await.len(), 1, "{login} is in the group");
}

fn text<'a>(place: &'a Place, field: &str) -> &'a str {
    place.settings[field].as_str().expect("a text")
}

fn entry(somebody: &Somebody) -> Vec<(String, HashSet<String>)> {
    let login = &somebody.username;
    let one = |value: String| HashSet::from([value]);
    let values = [
        ("objectClass", one("inetOrgPerson".to_owned())),
        ("uid", one(login.clone())),
        ("cn", one(format!("Person {login}"))),
        ("sn", one(login.clone())),
        ("givenName", one("Person".to_owned())),
        ("displayName", one(format!("Person {login}"))),
        ("mail", one(format!("{login}@example.com"))),
        ("employeeType", one(somebody.owner().mark())),
    ];
    values.map(|(name, values)| (name.to_owned(), values)).into()
}

async fn search(ldap: &Ldap, base: &str, filter: &str, attributes: &[&str], values: Option<String>) -> Vec<SearchEntry> {
    let mut ldap = ldap.clone();
    if let Some(values) = values {
        ldap.with_controls(vec![MatchedValues::new(&values)]);
    }
    let found = ldap.search(base, Scope::Subtree, filter, attributes).await.expect("an answer").success().expect("found");
    found.0.into_iter().map(SearchEntry::construct).collect()
}
