//! Somebody's whole time at a company, on real servers: she is made in Keycloak, gets what her team has, pushes, moves to another team, and leaves. Whoever set
//! usher up does nothing meanwhile (DESIGN.md, "Sources" and "The four figures").

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{Api, DynamicObject, ListParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use usher::api::Span;

use crate::accounts::tells;
use crate::accounts_forge::{Forge, first_commit, timeline};
use crate::figures::reads;
use crate::sources::{READS, declare_source};
use crate::support::access::{Matrix, Questions};
use crate::support::audit::OPERATOR;
use crate::support::client::{self, explain, kind, ready};
use crate::support::install::{Install, PATIENT};
use crate::support::operator::Operator;
use crate::support::people::{IDENTITIES, account, all_refused, declare, grants, log_in, reaches, subject, workspace};
use crate::support::systems::realm::{Realm, id_in};
use crate::support::{AuditLevel, ControlPlane, wait_until};

const SOON: Duration = Duration::from_mins(2);
/// Each Environment has a shared namespace of each team.
const PLACES: [&str; 2] = ["dev", "staging"];
/// The teams, and who has been in them for years: of a group that tells of nobody nobody loses the team.
const TEAMS: [(&str, &str); 2] = [("payments", "bob"), ("search", "carol")];
const PROBES: [&str; 2] = ["get pods", "create deployments.apps"];

/// What an administrator sets up: Environments, a Role and a Binding for each team, a forge as Provider and a realm as Source. Everything after that follows from
/// what is done in Keycloak and with git.
struct Company {
    operator: Operator,
    plane: ControlPlane,
    client: Client,
    realm: Realm,
    forge: Forge,
}

/// The person, as the company knows her.
struct Ada {
    /// Her id in Keycloak.
    id: String,
    /// Who may do what where, asked of everybody.
    questions: Questions,
    /// Her identity in the cluster.
    service_account: String,
    workspace: String,
    kubeconfig: String,
    /// At the forge.
    password: String,
}

fn shared(team: &str, place: &str) -> String {
    format!("{team}-{place}")
}

/// A realm with two teams and their people, who are no newcomers.
async fn realm() -> Realm {
    let years_ago = Timestamp::now() - SignedDuration::from_hours(24 * 800);
    let staff = TEAMS.map(|(team, person)| {
        json!({
            "username": person, "email": format!("{person}@example.com"), "firstName": "Old", "lastName": "Hand", "enabled": true,
            "createdTimestamp": years_ago.as_millisecond(), "groups": [format!("/teams/{team}")],
        })
    });
    let groups = TEAMS.map(|(team, _)| json!({"name": team}));
    Realm::with(&READS, |body| {
        body["groups"] = json!([{"name": "teams", "subGroups": groups}]);
        body["users"].as_array_mut().expect("a list").extend(staff);
    })
    .await
}

async fn forge() -> Forge {
    let forge = Forge::start().await;
    for (team, _) in TEAMS {
        forge.organization(team).await;
    }
    forge
}

impl Company {
    async fn new() -> Self {
        let (plane, realm, forge) = tokio::join!(ControlPlane::exclusive(AuditLevel::Metadata), realm(), forge());
        let client = plane.admin_client().await;
        let install = Install::new(&plane, &["environments.default=false", "starterRoles=false", PATIENT[0], PATIENT[1]]).await;
        let operator = Operator::start_with(&install, &["--identity", "usher-0"]).await;
        operator.ready().await;
        let company = Self { operator, plane, client, realm, forge };
        company.is_set_up().await;
        company
    }

    async fn is_set_up(&self) {
        let client = &self.client;
        for place in PLACES {
            let mut spec = json!({"namespaces": {"matchLabels": {"env": place}}});
            if place == "dev" {
                spec["home"] = json!(true);
                spec["workspace"] = json!({});
            }
            declare(client, "Environment", place, spec).await;
        }
        self.forge.declare_itself(client, json!({"onDeparture": {"action": "Delete"}})).await;
        for (team, _) in TEAMS {
            for place in PLACES {
                client::namespace(client, &shared(team, place), &[("env", place), ("team", team)]).await;
            }
            let work = json!({"name": "work", "environments": PLACES, "namespaces": {"matchLabels": {"team": team}}, "clusterRoles": ["usher-developer"]});
            let accounts = json!([{"provider": self.forge.provider, "groups": [format!("{team}/developers")]}]);
            declare(client, "Role", team, json!({"access": [work], "accounts": accounts})).await;
            declare(client, "Binding", team, json!({"role": team, "teams": [team]})).await;
        }
        let absence = json!({"absence": {"action": "Depart", "after": "2s"}});
        declare_source(client, "hr", &self.realm, (self.realm.system.env("URL"), &self.realm.ca), absence).await;
        for (_, person) in TEAMS {
            ready(client, person).await;
            tells(client, person, &self.forge.provider, "Active").await;
        }
    }

    /// What stands in the way of saying that nobody touched usher: the version of each object that people write, with the annotations by which they give words.
    async fn written(&self) -> BTreeMap<String, (Option<i64>, BTreeMap<String, String>)> {
        let mut written = BTreeMap::new();
        for of in ["Environment", "Role", "Binding", "Provider", "Source", "Lock"] {
            let list =
                kind(&self.client, of).await.list(&ListParams::default()).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
            written.extend(
                list.items.iter().map(|it| (format!("{of} {}", it.name_any()), (it.metadata.generation, it.annotations().clone()))),
            );
        }
        written
    }

    /// All figures but times, of so many people who each have both Environments and an account.
    async fn is_perfect(&self, (people, active): (usize, usize), newcomers: [usize; 3]) -> Value {
        let [access, push, commit] = newcomers;
        let (expected, cells) = (active * (PLACES.len() + 1), active * PLACES.len());
        let figures = [
            ("/people", json!(people)),
            ("/timeToAccess/count", json!(access)),
            ("/timeToFirstPush/count", json!(push)),
            ("/timeToFirstCommit/count", json!(commit)),
            ("/accessErrorRate/value", json!("0%")),
            ("/accessErrorRate/errors", json!(0)),
            ("/accessErrorRate/denied", json!(0)),
            ("/accessErrorRate/expected", json!(expected)),
            ("/manualTouchpoints/total", json!(0)),
            ("/manualTouchpoints/perPerson", json!("0")),
            ("/manualTouchpoints/byKind", json!({"waiver": 0, "release": 0, "conflict": 0, "handRepair": 0, "handMadeAccess": 0})),
            ("/manualTouchpoints/latest", Value::Null),
            ("/consistency/value", json!("100%")),
            ("/consistency/right", json!(cells)),
            ("/consistency/cells", json!(cells)),
            ("/consistency/environments", json!(PLACES)),
        ];
        reads(&self.client, "all", &figures).await
    }

    /// Somebody makes her in Keycloak, in her first team.
    async fn she_is_hired(&self) -> Ada {
        let (at, since) = (Timestamp::now(), Instant::now());
        let user = json!({
            "username": "ada", "email": "ada@example.com", "firstName": "Ada", "lastName": "Lovelace", "enabled": true, "groups": ["/teams/payments"],
        });
        let id = id_in(&self.realm.admin("POST", "/users", user).await);
        let developer = ready(&self.client, "ada").await;
        let took = since.elapsed();
        let spec = &developer.data["spec"];
        assert_eq!((&spec["personId"], &spec["teams"]), (&json!(id), &json!(["payments"])));
        assert_eq!((&spec["email"], &spec["displayName"]), (&json!("ada@example.com"), &json!("Ada Lovelace")));
        self.she_was_quick(&id, at, took).await;

        let mut people = vec![("ada", subject(&developer))];
        for (_, person) in TEAMS {
            people.push((person, subject(&ready(&self.client, person).await)));
        }
        let workspace = workspace(&developer);
        let shared: Vec<String> = TEAMS.iter().flat_map(|(team, _)| PLACES.map(|place| shared(team, place))).collect();
        let places: Vec<&str> = shared.iter().chain([&workspace]).map(String::as_str).collect();
        let questions = Questions::new(&people, &places, &PROBES);
        let kubeconfig = self.plane.usher(&["kubeconfig", "ada"]).await.ok();
        let password = self.what_she_was_given(&kubeconfig, &workspace).await;
        Ada { id, questions, service_account: account(&developer), workspace, kubeconfig, password }
    }

    /// Her time to access is from when Keycloak recorded her until all of it was there, and no longer than it was waited for.
    async fn she_was_quick(&self, id: &str, since: Timestamp, took: Duration) {
        let recorded = self.realm.user(id).await["createdTimestamp"].as_i64().expect("a time");
        let timeline = timeline(&self.client, "ada").await;
        let declared = moment(&timeline, "declaredAt");
        assert_eq!(declared.as_second(), recorded / 1000, "{timeline}");
        assert!(declared.as_second() >= since.as_second(), "{since} {timeline}");
        let told = ready_at(&timeline).duration_since(declared);
        assert!(told >= SignedDuration::ZERO && told <= whole(took), "{timeline} and {took:?} were measured");
        let figures = self.is_perfect((3, 3), [1, 0, 0]).await;
        assert_eq!(one(&figures, "timeToAccess"), told, "{figures}");
    }

    /// She reads by her own kubeconfig, in her own workspace, what she was given for the forge.
    async fn what_she_was_given(&self, kubeconfig: &str, workspace: &str) -> String {
        let secrets = Api::<Secret>::namespaced(log_in(kubeconfig).await, workspace);
        let given = secrets.get("usher-accounts").await.unwrap_or_else(|error| panic!("{}", explain(&error))).data.unwrap_or_default();
        let value = |key: &str| String::from_utf8(given[&format!("{}.{key}", self.forge.provider)].0.clone()).expect("text");
        assert_eq!((value("username").as_str(), value("url").as_str()), ("ada", self.forge.system.env("URL")));
        value("password")
    }

    /// Waits until she may do exactly what people of a team may, or nothing; as do the others what they always could.
    async fn she_may(&self, ada: &Ada, team: Option<&str>) {
        let cells = |team: &str, person: &str| {
            let places = PLACES.map(|place| shared(team, place));
            ada.questions.cells(&[person], &places.each_ref().map(String::as_str), &PROBES)
        };
        let mut expected: Matrix = TEAMS.iter().flat_map(|(team, person)| cells(team, person)).collect();
        if let Some(team) = team {
            expected.extend(cells(team, "ada"));
            expected.extend(ada.questions.cells(&["ada"], &[&ada.workspace], &PROBES));
        }
        ada.questions.settle(&self.client, SOON, &expected).await;
    }

    /// Waits until she is in the team of one organization at the forge, or of none, and can push there and nowhere else.
    async fn she_pushes_only(&self, ada: &Ada, where_to: Option<&str>) {
        for (team, person) in TEAMS {
            let hers = (where_to == Some(team)).then_some("ada");
            let expected: BTreeSet<String> = hers.into_iter().chain([person]).map(str::to_owned).collect();
            wait_until(&format!("{expected:?} are in {team}"), SOON, async || {
                let members = self.forge.members(team).await;
                if members == expected { Ok(()) } else { Err(format!("{members:?}")) }
            })
            .await;
        }
        for (team, _) in TEAMS {
            let remote = self.forge.git.https("ada", &ada.password, &format!("{team}/engine"));
            assert_eq!(self.forge.git.pushes(None, &remote).await, where_to == Some(team), "{team}");
        }
    }

    /// Her first push is told as it was made, and her time to it as it was measured.
    async fn her_first_commit_is_seen(&self, ada: &Ada, hired: (Timestamp, Timestamp)) {
        assert!(timeline(&self.client, "ada").await["firstCommitAt"].is_null(), "she did not push yet");
        let before = Timestamp::now();
        self.she_pushes_only(ada, Some("payments")).await;
        let first: Timestamp = first_commit(&self.client, "ada").await.parse().expect("a time");
        // Gitea dates pushes in whole seconds when their turn comes.
        assert!(first >= before - SignedDuration::from_secs(1) && first <= Timestamp::now(), "{before} {first}");
        let timeline = timeline(&self.client, "ada").await;
        let figures = self.is_perfect((3, 3), [1, 1, 1]).await;
        let (commit, push) = (one(&figures, "timeToFirstCommit"), one(&figures, "timeToFirstPush"));
        assert_eq!(commit, first.duration_since(moment(&timeline, "declaredAt")), "{figures} {timeline}");
        assert_eq!(push, first.duration_since(ready_at(&timeline)).max(SignedDuration::ZERO), "{figures} {timeline}");
        let (least, most) = (before.duration_since(hired.1) - SignedDuration::from_secs(2), Timestamp::now().duration_since(hired.0));
        assert!(commit >= least && commit <= most + SignedDuration::from_secs(1), "{least} {commit} {most}");
    }

    /// She is put into the group of another team, and taken out of that of the first.
    async fn she_moves(&self, ada: &Ada) {
        let before = timeline(&self.client, "ada").await;
        self.realm.join(&ada.id, "teams/search").await;
        self.realm.leave(&ada.id, "teams/payments").await;
        self.she_may(ada, Some("search")).await;
        self.she_pushes_only(ada, Some("search")).await;
        ready(&self.client, "ada").await;
        self.is_perfect((3, 3), [1, 1, 1]).await;
        let (people, count) = ("/people", "/timeToFirstCommit/count");
        reads(&self.client, "team-payments", &[(people, json!(1)), (count, json!(0))]).await;
        reads(&self.client, "team-search", &[(people, json!(2)), (count, json!(1)), ("/timeToAccess/count", json!(1))]).await;
        assert_eq!(timeline(&self.client, "ada").await, before, "what was is not told anew");
    }

    /// On her last day she is deactivated in Keycloak.
    async fn she_is_deactivated(&self, ada: &Ada) {
        self.realm.admin("PUT", &format!("/users/{}", ada.id), json!({"enabled": false})).await;
        self.she_may(ada, None).await;
        wait_until("the forge lets her in no more", SOON, async || {
            if self.forge.lets_in("ada", &ada.password).await { Err("it does") } else { Ok(()) }
        })
        .await;
        self.she_pushes_only(ada, None).await;
        all_refused(std::slice::from_ref(&ada.kubeconfig), SOON).await;
        reaches(&self.client, "Developer", "ada", "/status/state", "Suspended").await;
        self.is_perfect((3, 2), [1, 1, 1]).await;
    }

    /// Some time later her user is deleted there. Two reads that do not tell of her make a departure, and its receipt says what became of everything.
    async fn she_is_gone(&self, ada: &Ada) {
        let since = Instant::now();
        self.realm.admin("DELETE", &format!("/users/{}", ada.id), Value::Null).await;
        let receipt = self.receipt().await;
        let status = &receipt.data["status"];
        let lines = status["targets"].as_array().into_iter().flatten();
        let told: BTreeMap<&str, &str> = lines.filter_map(|it| Some((it["target"].as_str()?, it["state"].as_str()?))).collect();
        let forge = format!("provider/{}", self.forge.provider);
        // Her workspace is kept, as the Environment says nothing else; her account goes, as the Provider says.
        assert_eq!(
            told,
            BTreeMap::from([("environment/dev", "Retained"), ("environment/staging", "Gone"), (&forge, "Gone")]),
            "{status:#}"
        );
        assert_eq!((&status["leftovers"], &status["summary"]["leftovers"]), (&Value::Null, &json!("0")), "{status:#}");
        assert_eq!(
            (&receipt.data["spec"]["developer"]["personId"], &receipt.data["spec"]["requestedBy"]),
            (&json!(ada.id), &json!(OPERATOR))
        );
        let gone = status["accessGoneMs"].as_u64().map(Duration::from_millis).expect("it was asked");
        assert!(gone <= since.elapsed(), "{gone:?}");

        reaches(&self.client, "Developer", "ada", "/status/state", "Departed").await;
        assert!(!self.forge.knows("ada").await, "her account is gone");
        self.she_may(ada, None).await;
        self.she_pushes_only(ada, None).await;
        let secrets = Api::<Secret>::namespaced(self.client.clone(), &ada.workspace).list(&ListParams::default()).await.expect("a list");
        assert_eq!(secrets.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), Vec::<String>::new());
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), IDENTITIES);
        assert!(accounts.get_opt(&ada.service_account).await.expect("an answer").is_none());
    }

    /// Her receipt, once nothing is left.
    async fn receipt(&self) -> DynamicObject {
        let api = kind(&self.client, "Departure").await;
        wait_until("her receipt is complete", SOON, async || {
            let list = api.list(&ListParams::default()).await.map_err(|error| explain(&error))?.items;
            match list.as_slice() {
                [receipt] if receipt.data["status"]["state"] == "Complete" => Ok(receipt.clone()),
                other => Err(format!("{:?}", other.iter().map(|it| it.data.to_string()).collect::<Vec<_>>())),
            }
        })
        .await
    }

    /// Whoever wrote about her, or asked for anything of hers to end, is usher.
    async fn nobody_touched_usher(&self, before: &BTreeMap<String, (Option<i64>, BTreeMap<String, String>)>) {
        assert_eq!(self.written().await, *before);
        let developer = kind(&self.client, "Developer").await.get("ada").await.expect("she left, and is remembered");
        let managers: BTreeSet<String> = developer.managed_fields().iter().filter_map(|entry| entry.manager.clone()).collect();
        assert!(managers.contains("usher-source/hr") && managers.iter().all(|it| it.starts_with("usher")), "{managers:?}");
        assert_eq!(developer.annotations().get("usher.dev/requested-by").map(String::as_str), Some(OPERATOR));
        let grants = grants(&self.client, "ada").await;
        let ended = grants.iter().map(|it| (it.role.as_str(), it.ended.as_ref().map(|end| end.by.as_str())));
        assert_eq!(ended.collect::<Vec<_>>(), [("payments", Some(OPERATOR)), ("search", Some(OPERATOR))]);
    }
}

fn moment(timeline: &Value, field: &str) -> Timestamp {
    timeline[field].as_str().unwrap_or_else(|| panic!("no {field} in {timeline}")).parse().expect("a time")
}

/// When all access and all accounts were there.
fn ready_at(timeline: &Value) -> Timestamp {
    moment(timeline, "accessReadyAt").max(moment(timeline, "accountsReadyAt"))
}

/// A measured time in whole seconds, rounded up: what is told of two moments in whole seconds is no longer.
fn whole(time: Duration) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(time.as_secs()).expect("not for ever") + 1)
}

/// What a Scorecard tells of the one newcomer.
fn one(figures: &Value, figure: &str) -> SignedDuration {
    let times = &figures[figure];
    assert_eq!((&times["count"], &times["p50"]), (&json!(1), &times["p90"]), "{figure} in {figures}");
    serde_json::from_value::<Span>(times["p50"].clone()).expect("a length of time").duration()
}

#[tokio::test]
async fn who_is_made_in_keycloak_works_moves_and_leaves_and_nobody_touches_usher() {
    let company = Company::new().await;
    company.is_perfect((2, 2), [0, 0, 0]).await;
    let written = company.written().await;

    let asked = Timestamp::now();
    let ada = company.she_is_hired().await;
    let hired = (asked, Timestamp::now());
    company.she_may(&ada, Some("payments")).await;
    company.her_first_commit_is_seen(&ada, hired).await;
    company.she_moves(&ada).await;
    company.she_is_deactivated(&ada).await;
    company.she_is_gone(&ada).await;

    // She was a newcomer, and is told of as one; what is counted of access is that of those who are there.
    company.is_perfect((2, 2), [1, 1, 1]).await;
    company.nobody_touched_usher(&written).await;
    drop(company.operator);
    company.plane.stop().await;
}
