//! The operator is killed at random while a thousand requests are pushed: nothing that was answered is lost, and what was answered is what people have in the end.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kube::Client;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::user;
use crate::support::client::{explain, kind};
use crate::support::dice::Dice;
use crate::support::install::{Install, PATIENT};
use crate::support::operator::Operator;
use crate::support::scim::{Answer, Sender, certify, declare_source, patch_of};
use crate::support::{AuditLevel, ControlPlane, wait_until};

const PUSHES: usize = 1_000;
const SENDERS: usize = 8;
const PATIENCE: Duration = Duration::from_mins(2);

/// What was answered of somebody.
#[derive(Clone, Debug)]
struct Person {
    login: String,
    id: String,
    title: String,
    active: bool,
    deleted: bool,
}

/// One who pushes, of people who are nobody else's; as senders do, it sends again what was not answered.
struct Worker {
    number: usize,
    sender: Sender,
    people: Vec<Person>,
}

impl Worker {
    /// Sends until there is an answer.
    async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        wait_until(&format!("{method} {path} is answered"), PATIENCE, async || match self.sender.try_with(method, path, &[], body).await {
            Ok(answer) if answer.status < 500 => Ok(answer),
            Ok(answer) => Err(format!("{answer:?}")),
            Err(problem) => Err(problem),
        })
        .await
    }

    /// Somebody new. That her login is taken says that a push before was kept whose answer was not heard.
    async fn push(&mut self) {
        let login = format!("w{}-p{}", self.number, self.people.len());
        let answer = self.send("POST", "/Users", Some(&user(&login))).await;
        let id = if answer.status == 409 {
            let found = self.send("GET", &format!("/Users?filter=userName%20eq%20%22{login}@example.com%22"), None).await;
            found.body["Resources"][0]["id"].as_str().unwrap_or_else(|| panic!("taken, and not found: {found:?}")).to_owned()
        } else {
            answer.is(201).id()
        };
        self.people.push(Person { login, id, title: String::new(), active: true, deleted: false });
    }

    async fn change(&mut self, which: usize, operation: Value) {
        let path = format!("/Users/{}", self.people[which].id);
        self.send("PATCH", &path, Some(&patch_of(json!([operation])))).await.is(200);
    }

    async fn step(&mut self, dice: &mut Dice, number: usize) {
        let there: Vec<usize> = (0..self.people.len()).filter(|which| !self.people[*which].deleted).collect();
        let roll = dice.roll(10);
        if there.is_empty() || roll < 4 {
            return self.push().await;
        }
        let which = there[dice.roll(there.len())];
        match roll {
            4..6 => {
                let title = format!("title {number}");
                self.change(which, json!({"op": "replace", "path": "title", "value": title})).await;
                self.people[which].title = title;
            }
            6..9 => {
                let active = !self.people[which].active;
                self.change(which, json!({"op": "replace", "value": {"active": active}})).await;
                self.people[which].active = active;
            }
            _ => {
                let path = format!("/Users/{}", self.people[which].id);
                let answer = self.send("DELETE", &path, None).await;
                assert!(answer.status == 204 || answer.status == 404, "{answer:?}");
                self.people[which].deleted = true;
            }
        }
    }

    /// What of all that was answered is not there.
    async fn lost(&self) -> Vec<String> {
        let mut lost = Vec::new();
        for person in &self.people {
            let found = self.send("GET", &format!("/Users/{}", person.id), None).await;
            let title = found.body["title"].as_str().unwrap_or_default();
            let right = if person.deleted {
                found.status == 404
            } else {
                found.status == 200 && title == person.title && found.body["active"] == person.active
            };
            if !right {
                lost.push(format!("{person:?}: {found:?}"));
            }
        }
        lost
    }
}

/// Kills the operator and starts it again, until enough was pushed.
async fn kill(operator: &mut Operator, pushed: &AtomicUsize, dice: &mut Dice) -> usize {
    let mut kills = 0;
    while pushed.load(Ordering::SeqCst) < PUSHES {
        // Chance decides when, not how long something takes.
        let until = pushed.load(Ordering::SeqCst) + 10 + dice.roll(80);
        wait_until("more is pushed", PATIENCE, async || {
            let now = pushed.load(Ordering::SeqCst);
            if now >= until.min(PUSHES) { Ok(()) } else { Err(format!("{now} pushes")) }
        })
        .await;
        operator.restart().await;
        kills += 1;
        operator.ready().await;
    }
    kills
}

/// Waits until every Developer is what was answered of her.
async fn settles(client: &Client, people: &[Person]) {
    let developers = kind(client, "Developer").await;
    wait_until("people are as was answered", PATIENCE, async || {
        let all = developers.list(&ListParams::default()).await.map_err(|error| explain(&error))?.items;
        let state =
            |login: &str| all.iter().find(|it| it.metadata.name.as_deref() == Some(login)).map(|it| it.data["spec"]["state"].clone());
        let wrong = people.iter().find(|person| match state(&person.login) {
            // Who was deleted or deactivated before anybody saw her was never made.
            None => person.active && !person.deleted,
            Some(state) => {
                state
                    != if person.deleted {
                        "Departed"
                    } else if person.active {
                        "Active"
                    } else {
                        "Suspended"
                    }
            }
        });
        wrong.map_or(Ok(()), |person| Err(format!("{person:?} is {:?}", state(&person.login))))
    })
    .await;
}

#[tokio::test]
async fn killed_at_random_during_a_thousand_pushes_nothing_that_was_answered_is_lost() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let client = plane.admin_client().await;
    let install =
        Install::new(&plane, &[PATIENT[0], PATIENT[1], "scim.enabled=true", "starterRoles=false", "environments.default=false"]).await;
    let ca = certify(&client).await;
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address").to_string();
    let mut operator = Operator::start_with(&install, &["--identity", "usher-0", "--scim-listen", &port]).await;
    operator.ready().await;
    let token = declare_source(&client, "hr", json!({"brake": {"maxRemovals": 100_000, "maxPercent": 100}})).await;
    let sender = Sender::at(&format!("https://{port}/scim/v2/hr"), &ca, &token);
    sender.let_in().await;
    let (pushed, mut dice) = (AtomicUsize::new(0), Dice::new());
    let seeds: Vec<usize> = (0..SENDERS).map(|_| dice.roll(1_000_000)).collect();
    let working = futures::future::join_all(seeds.into_iter().enumerate().map(|(number, seed)| {
        let (sender, pushed) = (sender.clone(), &pushed);
        async move {
            let (mut worker, mut dice) = (Worker { number, sender, people: Vec::new() }, Dice::of(seed as u64));
            while pushed.fetch_add(1, Ordering::SeqCst) < PUSHES {
                worker.step(&mut dice, pushed.load(Ordering::SeqCst)).await;
            }
            worker
        }
    }));
    let (kills, workers) = tokio::join!(kill(&mut operator, &pushed, &mut dice), working);
    println!("killed {kills} times");
    assert!(kills >= 5, "killed {kills} times");
    let mut lost = Vec::new();
    for worker in &workers {
        lost.extend(worker.lost().await);
    }
    assert!(lost.is_empty(), "{} of what was answered is lost:\n{}", lost.len(), lost.join("\n"));
    let people: Vec<Person> = workers.into_iter().flat_map(|worker| worker.people).collect();
    settles(&client, &people).await;
    drop(operator);
    plane.stop().await;
}
