//! Thousands of people, in Keycloak and in LDAP; and the realm that was named by mistake.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use kube::api::{Api, DynamicObject, ListParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::process::Command;
use usher::api::Developer;

use super::{READS, Realm, credentials, declare_source};
use crate::support::client::{explain, kind};
use crate::support::install::{Install, PATIENT};
use crate::support::operator::Operator;
use crate::support::people::{declare, edit, reaches, remove};
use crate::support::systems::{System, shared};
use crate::support::{AuditLevel, ControlPlane, throughout, wait_until};

const CROWD: usize = 2_501;
/// Thousands of people on a busy machine.
const PATIENCE: Duration = Duration::from_mins(5);

/// Everybody of a Source: name, and what she is called for ever.
async fn everybody(client: &Client, source: &str) -> BTreeSet<(String, String, bool)> {
    let people = Api::<Developer>::all(client.clone()).list(&ListParams::default().labels(&format!("usher.dev/source={source}"))).await;
    let people = people.unwrap_or_else(|error| panic!("{}", explain(&error)));
    let told =
        |it: &Developer| (it.name_any(), it.spec.person_id.clone().unwrap_or_default(), it.spec.state == usher::api::DesiredState::Active);
    people.items.iter().map(told).collect()
}

/// Waits until a read has made so many, and gives the status that tells of it.
async fn made(client: &Client, source: &str, count: usize) -> Value {
    wait_until(&format!("usource/{source} made {count}"), PATIENCE, async || {
        let object: DynamicObject = kind(client, "Source").await.get(source).await.map_err(|error| explain(&error))?;
        let status = object.data["status"].clone();
        if status["lastRead"]["created"] == count && status["state"] == "InSync" { Ok(status) } else { Err(status.to_string()) }
    })
    .await
}

/// Fills a directory by its own tools: everybody in one group.
async fn fill(directory: &System) {
    let (people, groups) = (directory.env("PEOPLE_DN"), directory.env("GROUPS_DN"));
    let (mut text, mut group) = (String::new(), format!("dn: cn=staff,{groups}\nobjectClass: groupOfNames\ncn: staff\n"));
    for number in 0..CROWD {
        let dn = format!("uid=l-{number},{people}");
        write!(
            text,
            "dn: {dn}\nobjectClass: inetOrgPerson\nuid: l-{number}\ncn: Person {number}\nsn: {number}\nmail: l-{number}@example.com\n\n"
        )
        .expect("memory");
        writeln!(group, "member: {dn}").expect("memory");
    }
    let (file, password) = (directory.dir().join("crowd.ldif"), directory.dir().join("root-password"));
    std::fs::write(&file, text + &group).expect("space on the disk");
    std::fs::write(&password, directory.env("ROOT_PASSWORD")).expect("space on the disk");
    let add = format!("{}/ldapadd", directory.env("BIN"));
    let added =
        Command::new(add).args(["-D", directory.env("ROOT_DN"), "-y"]).arg(&password).arg("-f").arg(&file).output().await.expect("ldapadd");
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
}

/// A Source that is deleted while people are made because of it makes nobody more.
async fn whoever_deletes_a_source_stops_what_is_under_way(client: &Client) {
    let realm = Realm::with(&READS, |_| {}).await;
    realm.make_crowd_of("s", 400).await;
    declare_source(client, "stopped", &realm, (realm.system.env("URL"), &realm.ca), json!({"every": "5m"})).await;
    wait_until(
        "somebody is made",
        PATIENCE,
        async || {
            if everybody(client, "stopped").await.is_empty() { Err("nobody yet") } else { Ok(()) }
        },
    )
    .await;
    remove(client, "Source", "stopped").await;
    throughout("not all of them are made", Duration::from_secs(10), async || {
        let now = everybody(client, "stopped").await.len();
        if now < 400 { Ok(()) } else { Err(now) }
    })
    .await;
}

#[tokio::test]
async fn two_thousand_five_hundred_and_one_become_developers_by_one_read_and_another_realm_is_braked() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let client = plane.admin_client().await;
    let values = ["environments.default=false", "starterRoles=false", PATIENT[0], PATIENT[1]];
    let install = Install::new(&plane, &values).await;
    let mut operator = Operator::start_with(&install, &["--identity", "usher-0"]).await;
    operator.ready().await;

    whoever_deletes_a_source_stops_what_is_under_way(&client).await;
    let (realm, mistake) = (Realm::with(&READS, |_| {}).await, Realm::with(&READS, |_| {}).await);
    realm.make_crowd_of("k", CROWD).await;
    mistake.make_crowd_of("m", 1_200).await;
    let url = realm.system.env("URL").to_owned();
    declare_source(&client, "realm", &realm, (&url, &realm.ca), json!({"every": "5m"})).await;
    let status = made(&client, "realm", CROWD).await;
    assert_eq!((&status["lastRead"]["people"], &status["lastRead"]["missing"]), (&json!(CROWD), &json!(0)));
    let before = everybody(&client, "realm").await;
    assert_eq!(before.len(), CROWD);

    let directory = shared("ldap").await;
    fill(directory).await;
    credentials(&client, "directory", directory.env("ADMIN_PASSWORD"), &std::fs::read_to_string(directory.ca_file()).expect("a CA")).await;
    let ldap = json!({
        "url": directory.env("URL"), "bindDN": directory.env("ADMIN_USER"), "baseDN": directory.env("PEOPLE_DN"), "groupBaseDN": directory.env("GROUPS_DN"),
        "credentialsSecret": {"name": "directory", "key": "secret"}, "caSecret": {"name": "directory", "key": "ca.crt"},
    });
    declare(&client, "Source", "directory", json!({"ldap": ldap, "teams": [{"group": "staff", "team": "staff"}]})).await;
    made(&client, "directory", CROWD).await;
    let people =
        Api::<Developer>::all(client.clone()).list(&ListParams::default().labels("usher.dev/source=directory")).await.expect("people");
    assert_eq!(people.items.iter().filter(|it| it.spec.teams == ["staff"]).count(), CROWD);

    // usher is let into the other realm by its own secret.
    credentials(&client, "mistake", &mistake.secret, &mistake.ca).await;
    let other = json!({"realm": mistake.name, "credentialsSecret": {"name": "mistake", "key": "secret"}});
    edit(&client, "Source", "realm", json!({"keycloak": other, "every": "1s"})).await;
    let braked = reaches(&client, "Source", "realm", "/status/state", "Braked").await;
    assert_eq!(braked.data["status"]["brake"]["removals"], CROWD);
    operator.restart().await;
    operator.ready().await;
    throughout("everybody stays, and nobody comes", Duration::from_secs(10), async || {
        let now = everybody(&client, "realm").await;
        if now == before { Ok(()) } else { Err(format!("{} of {}", now.intersection(&before).count(), now.len())) }
    })
    .await;
    reaches(&client, "Source", "realm", "/status/state", "Braked").await;
    edit(&client, "Source", "realm", json!({"keycloak": {"realm": realm.name, "credentialsSecret": {"name": "realm", "key": "secret"}}}))
        .await;
    reaches(&client, "Source", "realm", "/status/state", "InSync").await;
    assert_eq!(everybody(&client, "realm").await, before);
    drop(operator);
    plane.stop().await;
}
