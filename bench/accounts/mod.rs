//! The rows "accounts a second": a Role gets an entry that gives everybody an account in a group, and time runs until all of them are told to be as they
//! should be; beside a bare client that makes the same requests to a system of the same sort, as many at once.

mod http;
mod ldap;
mod person;
mod places;
mod postgresql;
mod round;
mod writer;

use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use tokio::sync::Mutex;

use crate::table::Row;

use self::http::Recording;
use self::person::Somebody;
pub use self::places::{Place, scim};
pub use self::round::House;

/// At most so many people: with more it only takes longer.
const MOST_PEOPLE: usize = 200;
/// As many accounts are worked on at once at a desk.
const AT_ONCE: usize = 4;
/// How often usher and the bare client take turns.
const ROUNDS: usize = 3;
/// What usher may take of what a bare client takes.
const MUST: f64 = 1.3;

type Make = fn() -> BoxFuture<'static, Place>;

/// The systems. Another one is a line here, and a [`Place`].
const SYSTEMS: [(&str, Make); 5] = [
    ("scim", || places::scim().boxed()),
    ("ldap", || places::ldap().boxed()),
    ("postgresql", || places::postgresql().boxed()),
    ("gitea", || places::gitea().boxed()),
    ("keycloak", || places::keycloak().boxed()),
];

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    seconds: f64,
    /// Requests a person.
    requests: f64,
    /// Writes into the cluster a person.
    writes: f64,
}

/// All runs with one system.
#[derive(Default)]
struct Runs {
    usher: Vec<Run>,
    /// A bare client.
    bare: Vec<Run>,
    /// One that writes nothing into the cluster.
    alone: Vec<Run>,
}

/// What a bare client writes into the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writes {
    None,
    /// The Secret with the first password, what she is told, her Grant, and the status.
    OfTheOperator,
}

/// Measures how fast accounts come into being in each system.
pub async fn measure(people: usize, only: Option<&str>) -> Vec<Row> {
    let people = people.min(MOST_PEOPLE);
    eprintln!("accounts: a control plane, the chart, the operator and {people} people");
    let house = House::with(people).await;
    let mut rows = Vec::new();
    for (system, make) in SYSTEMS.into_iter().filter(|(system, _)| only.is_none_or(|only| only == *system)) {
        let mut runs = Runs::default();
        for round in 0..ROUNDS {
            // Who is first has the colder machine: they take turns at that, too.
            if round % 2 == 0 {
                runs.usher.push(by_usher(&house, system, make, round).await);
            }
            runs.alone.push(by_bare_client(&house, system, make, Writes::None).await);
            runs.bare.push(by_bare_client(&house, system, make, Writes::OfTheOperator).await);
            if round % 2 == 1 {
                runs.usher.push(by_usher(&house, system, make, round).await);
            }
        }
        rows.extend(rows_of(system, people, &runs));
    }
    house.end().await;
    rows
}

async fn by_usher(house: &House, system: &str, make: Make, round: usize) -> Run {
    let place = make().await;
    let run = house.run(&place, &format!("{system}-{round}")).await;
    eprintln!("  {system}: usher took {:.2} s, {:.1} requests a person", run.seconds, run.requests);
    run
}

fn rows_of(system: &str, people: usize, runs: &Runs) -> Vec<Row> {
    let median = |runs: &[Run], of: fn(&Run) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let seconds = |runs: &[Run]| median(runs, |run| run.seconds);
    let requests = |runs: &[Run]| median(runs, |run| run.requests);
    let (took, bare, alone, count) = (seconds(&runs.usher), seconds(&runs.bare), seconds(&runs.alone), people as f64);
    vec![
        Row::at_most(format!("{people} accounts in {system}, s, vs a bare client of system and cluster"), took, bare, MUST),
        Row::beside(format!("{people} accounts in {system}, s, vs a bare client of the system alone"), took, alone),
        Row::beside(format!("accounts/s in {system}"), count / took, count / bare),
        Row::beside(format!("requests an account in {system}"), requests(&runs.usher), requests(&runs.bare)),
        Row::beside(
            format!("writes into the cluster an account in {system}"),
            median(&runs.usher, |run| run.writes),
            writer::WRITES as f64,
        ),
    ]
}

/// A client of one sort of system. As many sessions as people at once, where sessions are kept.
enum Bare {
    Http(Box<Recording>),
    Ldap(Vec<ldap3::Ldap>),
    Postgresql(Vec<tokio_postgres::Client>),
}

impl Bare {
    async fn new(place: &Place) -> Self {
        match place.kind {
            "ldap" => Self::Ldap(join_all((0..AT_ONCE).map(|_| ldap::session(place))).await),
            "postgresql" => Self::Postgresql(join_all((0..AT_ONCE).map(|_| postgresql::session(place))).await),
            _ => Self::Http(Box::new(Recording::of(place, Somebody::number(99_999)).await)),
        }
    }

    async fn make(&self, worker: usize, place: &Place, somebody: &Somebody) {
        match self {
            Self::Http(recording) => recording.replay(somebody).await,
            Self::Ldap(sessions) => ldap::make(&sessions[worker], place, somebody).await,
            Self::Postgresql(sessions) => postgresql::make(&sessions[worker], place, somebody).await,
        }
    }

    fn requests(&self) -> usize {
        match self {
            Self::Http(recording) => recording.requests(),
            Self::Ldap(_) => ldap::REQUESTS,
            Self::Postgresql(_) => postgresql::REQUESTS,
        }
    }
}

async fn by_bare_client(house: &House, system: &str, make: Make, writes: Writes) -> Run {
    let place = make().await;
    let bare = Bare::new(&place).await;
    // The first of each session is slower.
    join_all((0..AT_ONCE).map(|worker| {
        let (bare, place) = (&bare, &place);
        async move { bare.make(worker, place, &Somebody::number(90_000 + worker)).await }
    }))
    .await;
    let seconds = match writes {
        Writes::None => all(&bare, &place, house, writes).await,
        Writes::OfTheOperator => house.instead(all(&bare, &place, house, writes)).await,
    };
    eprintln!("  {system}: a bare client took {seconds:.2} s, writes into the cluster: {writes:?}");
    let written = if writes == Writes::None { 0 } else { writer::WRITES };
    Run { seconds, requests: bare.requests() as f64, writes: written as f64 }
}

/// Makes all accounts. How they stand is written beside the work on others, as the operator does.
async fn all(bare: &Bare, place: &Place, house: &House, writes: Writes) -> f64 {
    let (todo, told, writer) = (Mutex::new(0..house.people()), Mutex::new(Vec::new()), house.writer());
    let since = Instant::now();
    let work = join_all((0..AT_ONCE).map(|worker| {
        let (todo, told, writer) = (&todo, &told, &writer);
        async move {
            loop {
                let Some(number) = todo.lock().await.next() else { return };
                bare.make(worker, place, &Somebody::number(number)).await;
                if writes == Writes::OfTheOperator {
                    writer.secret(number).await;
                    let writer = writer.clone();
                    told.lock().await.push(tokio::spawn(async move { writer.tell(number).await }));
                }
            }
        }
    }));
    work.await;
    for told in told.into_inner() {
        told.await.expect("it is told");
    }
    since.elapsed().as_secs_f64()
}

/// When it is not done by now, something is broken.
const GIVE_UP: Duration = Duration::from_mins(5);
