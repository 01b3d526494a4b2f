//! A real LDAP directory: who moves between its groups, and who is locked out there; and a directory that was restored from a backup, or from nothing.

use std::path::{Path, PathBuf};

use kube::Client;
use serde_json::json;
use tokio::process::Command;

use super::{SOON, credentials, may, may_still};
use crate::accounts::{ca, says};
use crate::support::access::Subject;
use crate::support::client::{explain, kind};
use crate::support::people::{Stage, declare, reaches, subject};
use crate::support::systems::System;
use crate::support::{Shared, name, operated, wait_until};

/// A directory of a test's own with two groups that are teams, and the Source that it is.
struct Tree {
    _shared: Shared,
    client: Client,
    stage: Stage,
    system: Option<System>,
    source: String,
    /// By which names of this test's end: people and teams of others are under the same usher.
    own: String,
}

impl Tree {
    async fn new() -> Self {
        let shared = operated().await;
        let client = shared.client.clone();
        let stage = Stage::new(&client).await;
        let source = name("hr");
        let own = source.trim_start_matches("hr-").to_owned();
        Self { _shared: shared, client, stage, system: Some(System::start("ldap").await), source, own }
    }

    fn system(&self) -> &System {
        self.system.as_ref().expect("it runs")
    }

    fn name(&self, of: &str) -> String {
        format!("{of}-{}", self.own)
    }

    /// Carries out changes as the directory's own tool takes them.
    async fn change(&self, changes: &str) {
        let (system, text) = (self.system(), changes.replace("PEOPLE", self.system().env("PEOPLE_DN")));
        let text = text.replace("GROUPS", system.env("GROUPS_DN")).replace("-OWN", &format!("-{}", self.own));
        let (file, password) = (system.dir().join("changes.ldif"), system.dir().join("root-password"));
        std::fs::write(&file, &text).expect("space on the disk");
        std::fs::write(&password, system.env("ROOT_PASSWORD")).expect("space on the disk");
        let tool = format!("{}/ldapadd", system.env("BIN"));
        let done = Command::new(tool).args(["-D", system.env("ROOT_DN"), "-y"]).arg(&password).arg("-f").arg(&file).output().await;
        let done = done.expect("ldapadd");
        assert!(done.status.success(), "{}\n{text}", String::from_utf8_lossy(&done.stderr));
    }

    /// Three people, of whom two may look; and somebody who may work.
    async fn fill(&self) {
        let person = |login: &str| {
            format!(
                "dn: uid={login}-OWN,PEOPLE\nobjectClass: inetOrgPerson\nuid: {login}-OWN\ncn: {login}\nsn: {login}\nmail: {login}-OWN@example.com\n\n"
            )
        };
        let group = |group: &str, members: &[&str]| {
            let members: String = members.iter().map(|login| format!("member: uid={login}-OWN,PEOPLE\n")).collect();
            format!("dn: cn={group}-OWN,GROUPS\nobjectClass: groupOfNames\ncn: {group}-OWN\n{members}\n")
        };
        let people: String = ["ada", "bob", "eve"].map(person).concat();
        self.change(&(people + &group("viewers", &["ada", "bob"]) + &group("editors", &["eve"]))).await;
    }

    /// Whoever is in one of the groups has what a Role gives that team.
    async fn declare(&self) {
        for (team, cluster_role) in [("viewers", "view"), ("editors", "edit")] {
            let role = self.stage.role(cluster_role).await;
            declare(&self.client, "Binding", &name("bind"), json!({"role": role, "teams": [self.name(team)]})).await;
        }
        let system = self.system();
        credentials(&self.client, &self.source, system.env("ADMIN_PASSWORD"), &ca(system)).await;
        let key = |key: &str| json!({"name": self.source, "key": key});
        let ldap = json!({
            "url": system.env("URL"), "bindDN": system.env("ADMIN_USER"), "baseDN": system.env("PEOPLE_DN"), "groupBaseDN": system.env("GROUPS_DN"),
            "credentialsSecret": key("secret"), "caSecret": key("ca.crt"),
        });
        let spec = json!({
            "ldap": ldap, "every": "1s", "requestsPerSecond": 1000, "teams": [{"group": "{team}", "team": "{team}"}],
            "absence": {"action": "Depart", "after": "1h"}, "brake": {"maxRemovals": 1000},
        });
        declare(&self.client, "Source", &self.source, spec).await;
    }

    async fn known(&self, of: &str) -> Subject {
        let (api, person) = (kind(&self.client, "Developer").await, self.name(of));
        let developer = wait_until(&format!("dev/{person} is known"), SOON, async || {
            let developer = api.get(&person).await.map_err(|error| explain(&error))?;
            let known = developer.data["status"]["identities"].as_array().is_some_and(|identities| !identities.is_empty());
            if known { Ok(developer) } else { Err("nobody knows her".to_owned()) }
        })
        .await;
        subject(&developer)
    }

    async fn may(&self, who: &Subject, verbs: &[&str]) {
        may((&self.client, &self.stage.shared), who, verbs).await;
    }

    /// For several reads each of these may do exactly this.
    async fn may_still(&self, people: &[(&Subject, &[&str])]) {
        let asked = people.iter().map(|(who, verbs)| may_still((&self.client, &self.stage.shared), who, verbs));
        futures::future::join_all(asked).await;
    }

    /// Its data as a backup. It is killed for that, as nobody tells it to write.
    async fn backs_up(&mut self, backup: &str) -> PathBuf {
        let place = self.system().dir().join(backup);
        self.while_it_is_down(|data| copy(data, &place)).await;
        place
    }

    /// It comes back with the data of a backup.
    async fn is_restored(&mut self, backup: &Path) {
        self.while_it_is_down(|data| {
            std::fs::remove_dir_all(data).expect("its data");
            copy(backup, data);
        })
        .await;
    }

    async fn while_it_is_down(&mut self, work: impl FnOnce(&Path)) {
        let system = self.system.take().expect("it runs");
        system.kill();
        wait_until("it is down", SOON, async || match rustix::process::test_kill_process(system.pid()) {
            Err(_) => Ok(()),
            Ok(()) => Err("it runs"),
        })
        .await;
        work(&system.dir().join("data"));
        self.system = Some(system.restart().await);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a folder");
    for file in std::fs::read_dir(from).expect("a folder").map(|file| file.expect("a file")) {
        std::fs::copy(file.path(), to.join(file.file_name())).expect("space on the disk");
    }
}

#[tokio::test]
async fn who_moves_in_ldap_changes_access_and_a_restored_directory_takes_nobodys_away() {
    let mut tree = Tree::new().await;
    let empty = tree.backs_up("of-nobody").await;
    tree.fill().await;
    let yesterday = tree.backs_up("of-yesterday").await;
    tree.declare().await;
    let (ada, bob, eve) = (tree.known("ada").await, tree.known("bob").await, tree.known("eve").await);
    tree.may(&ada, &["get"]).await;
    tree.may(&bob, &["get"]).await;
    tree.may(&eve, &["get", "create"]).await;

    let moves = |out: &str, into: &str| {
        let change = |group: &str, how: &str| {
            format!("dn: cn={group}-OWN,GROUPS\nchangetype: modify\n{how}: member\nmember: uid=ada-OWN,PEOPLE\n\n")
        };
        change(into, "add") + &change(out, "delete")
    };
    tree.change(&moves("viewers", "editors")).await;
    tree.may(&ada, &["get", "create"]).await;
    tree.change("dn: uid=bob-OWN,PEOPLE\nchangetype: modify\nadd: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n\n").await;
    tree.may(&bob, &[]).await;

    // Its entries have versions, by which a copy of the past is known for certain.
    let today = tree.backs_up("of-today").await;
    let as_they_are: [(&Subject, &[&str]); 3] = [(&ada, &["get", "create"]), (&bob, &[]), (&eve, &["get", "create"])];
    for (backup, why) in [(&yesterday, "entries are older than they were"), (&empty, "it tells of nobody")] {
        tree.is_restored(backup).await;
        wait_until(why, SOON, async || {
            let message = says(&tree.client, "Source", &tree.source, "Ready", "Incomplete").await;
            if message.contains(why) { Ok(()) } else { Err(message) }
        })
        .await;
        tree.may_still(&as_they_are).await;
    }
    tree.is_restored(&today).await;
    reaches(&tree.client, "Source", &tree.source, "/status/state", "InSync").await;
    tree.may_still(&as_they_are).await;
    tree.change(&moves("editors", "viewers")).await;
    tree.may(&ada, &["get"]).await;
}
