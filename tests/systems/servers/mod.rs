//! The servers that connectors are tested against really are what the tests take them for, and nothing is left of them.

mod paused;
mod wire;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use self::wire::{add, ask, bind, code, connect, http, http_at, postgresql, start_tls, startup, tls};
use crate::support::systems::{System, shared};

/// How long a test waits for what comes at once on a quiet machine.
const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn postgresql_takes_passwords_under_tls_only() {
    let system = shared("postgresql").await;
    let user = system.env("ADMIN_USER");
    let answer = ask(&mut postgresql(system).await, &startup(user)).await;
    assert!(answer.starts_with(b"R") && text(&answer).contains("SCRAM-SHA-256"), "{answer:?}");
    let answer = ask(&mut connect(system.env("URL")).await, &startup(user)).await;
    assert!(answer.starts_with(b"E") && text(&answer).contains("no encryption"), "{}", text(&answer));
}

#[tokio::test]
async fn ldap_takes_passwords_under_tls_only() {
    let system = shared("ldap").await;
    let login = bind(system.env("ADMIN_USER"), system.env("ADMIN_PASSWORD"));
    assert_eq!(code(&ask(&mut tls(system, connect(system.env("URL")).await).await, &login).await), 0, "success");
    let mut plain = connect(system.env("URL_STARTTLS")).await;
    assert_eq!(code(&ask(&mut plain, &login).await), 13, "confidentiality required");
    assert_eq!(code(&ask(&mut plain, &start_tls()).await), 0, "success");
    let mut private = tls(system, plain).await;
    assert_eq!(code(&ask(&mut private, &login).await), 0, "success");
    assert_eq!(code(&ask(&mut private, &bind(system.env("ADMIN_USER"), "wrong")).await), 49, "invalid credentials");
}

#[tokio::test]
async fn ldap_lets_the_operator_write_people_and_groups_only() {
    let system = shared("ldap").await;
    let mut connection = operator(system).await;
    let unit = |name: &str, parent: &str| add(&format!("ou={name},{parent}"), &[("objectClass", "organizationalUnit"), ("ou", name)]);
    for (parent, expected) in [("PEOPLE_DN", 0), ("GROUPS_DN", 0), ("BASE_DN", 50)] {
        assert_eq!(code(&ask(&mut connection, &unit("new", system.env(parent))).await), expected, "below {parent}");
    }
}

#[tokio::test]
async fn scim_wants_its_token_and_keeps_tenants_apart() {
    let system = shared("scim").await;
    let token = system.env("TOKEN");
    assert_eq!(http(system, "wrong", "GET", "/one/v2/Users", "").await.0, 401);
    assert_eq!(http(system, token, "POST", "/one/v2/Users", ALICE).await.0, 201);
    let (status, there) = http(system, token, "GET", "/one/v2/Users", "").await;
    assert!(status == 200 && there.contains(r#""totalResults": 1"#) && there.contains("\"location\": \"https://"), "{there}");
    let (status, elsewhere) = http(system, token, "GET", "/two/v2/Users", "").await;
    assert!(status == 200 && elsewhere.contains(r#""totalResults": 0"#), "{elsewhere}");
}

#[tokio::test]
async fn gitea_wants_its_token_and_has_two_doors() {
    let system = shared("gitea").await;
    let token = system.env("TOKEN");
    assert_eq!(http(system, "wrong", "GET", "/api/v1/admin/users", "").await.0, 401);
    let (status, user) = http(system, token, "GET", "/api/v1/user", "").await;
    assert!(status == 200 && user.contains(system.env("ADMIN_USER")), "{user}");
    let greeting = ask(&mut connect(&format!("ssh://127.0.0.1:{}", system.env("SSH_PORT"))).await, b"SSH-2.0-test\r\n").await;
    assert!(text(&greeting).starts_with("SSH-2.0-"), "{}", text(&greeting));
}

#[tokio::test]
async fn keycloak_wants_its_token_and_is_ready_when_it_says_so() {
    let system = shared("keycloak").await;
    assert_eq!(http(system, "wrong", "GET", "/admin/realms/master/users", "").await.0, 401);
    let (status, users) = http(system, &administrator(system).await, "GET", "/admin/realms/master/users", "").await;
    assert!(status == 200 && users.contains(system.env("ADMIN_USER")), "{users}");
    says_that_it_is_ready(system).await;
}

#[tokio::test]
async fn there_is_one_shared_system_of_a_name() {
    let (one, two) = tokio::join!(shared("ldap"), shared("ldap"));
    assert!(std::ptr::eq(one, two));
}

#[tokio::test]
async fn postgresql_hangs_crashes_comes_back_and_goes() {
    hangs_crashes_comes_back_and_goes("postgresql").await;
}

#[tokio::test]
async fn ldap_hangs_crashes_comes_back_and_goes() {
    hangs_crashes_comes_back_and_goes("ldap").await;
}

#[tokio::test]
async fn scim_hangs_crashes_comes_back_and_goes() {
    hangs_crashes_comes_back_and_goes("scim").await;
}

#[tokio::test]
async fn gitea_hangs_crashes_comes_back_and_goes() {
    hangs_crashes_comes_back_and_goes("gitea").await;
}

#[tokio::test]
async fn keycloak_hangs_crashes_comes_back_and_goes() {
    hangs_crashes_comes_back_and_goes("keycloak").await;
}

#[tokio::test]
async fn killed_scripts_leave_nothing() {
    for name in ["postgresql", "ldap", "scim", "gitea", "keycloak"] {
        for hangs in [false, true] {
            leaves_nothing(name, hangs).await;
        }
    }
}

/// Makes something in a system; false if it is there already.
async fn make(system: &System, name: &str) -> bool {
    match name {
        "postgresql" => psql(system, "create table alice ()").await,
        "ldap" => {
            let dn = format!("uid=alice,{}", system.env("PEOPLE_DN"));
            let alice = add(&dn, &[("objectClass", "inetOrgPerson"), ("uid", "alice"), ("cn", "Alice"), ("sn", "Allen")]);
            match code(&ask(&mut operator(system).await, &alice).await) {
                0 => true,
                68 => false,
                other => panic!("LDAP result {other}"),
            }
        }
        "gitea" => match http(system, system.env("TOKEN"), "POST", "/api/v1/orgs", r#"{"username":"alice"}"#).await {
            (201, _) => true,
            (422, _) => false,
            (_, other) => panic!("{other}"),
        },
        "keycloak" => {
            let token = administrator(system).await;
            match http(system, &token, "POST", "/admin/realms/master/users", r#"{"username":"alice"}"#).await {
                (201, _) => true,
                (409, _) => false,
                (_, other) => panic!("{other}"),
            }
        }
        _ => match http(system, system.env("TOKEN"), "POST", "/tenant/v2/Users", ALICE).await {
            (201, _) => true,
            (409, _) => false,
            (_, other) => panic!("{other}"),
        },
    }
}

const ALICE: &str = r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"alice"}"#;

/// A token of Keycloak's own administrator.
async fn administrator(system: &System) -> String {
    let (user, password) = (system.env("ADMIN_USER"), system.env("ADMIN_PASSWORD"));
    let body = format!("grant_type=password&client_id=admin-cli&username={user}&password={password}");
    let path = "/realms/master/protocol/openid-connect/token";
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let (status, answer) = http_at(system, system.env("URL"), kind, ("POST", path, &body)).await;
    assert_eq!(status, 200, "{answer}");
    answer.split(r#""access_token":""#).nth(1).and_then(|rest| rest.split('"').next()).expect("a token").to_owned()
}

/// Keycloak listens, and lets people in, before its parts all work.
async fn says_that_it_is_ready(system: &System) {
    let (status, answer) = http_at(system, system.env("HEALTH_URL"), "Accept: */*", ("GET", "/health/ready", "")).await;
    assert!(status == 200 && answer.contains(r#""status": "UP""#) && !answer.contains("DOWN"), "{answer}");
}

/// A session of the operator's.
async fn operator(system: &System) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut connection = tls(system, connect(system.env("URL")).await).await;
    assert_eq!(code(&ask(&mut connection, &bind(system.env("ADMIN_USER"), system.env("ADMIN_PASSWORD"))).await), 0, "success");
    connection
}

async fn psql(system: &System, statement: &str) -> bool {
    let output = Command::new(system.env("PSQL")).args(["-qc", statement]).output().await.expect("psql");
    let complaint = text(&output.stderr);
    assert!(output.status.success() || complaint.contains("already exists"), "{complaint}");
    output.status.success()
}

async fn hangs_crashes_comes_back_and_goes(name: &str) {
    let system = System::start(name).await;
    if name == "keycloak" {
        says_that_it_is_ready(&system).await;
    }
    let (address, dir, first) = (system.env("URL").to_owned(), system.dir().to_owned(), system.pid());
    assert!(make(&system, name).await, "it is empty at first");

    system.pause();
    timeout(Duration::from_millis(300), make(&system, name)).await.expect_err("it hangs");
    system.resume();
    assert!(!make(&system, name).await, "it goes on");

    system.kill();
    until("it is gone", || !runs(first)).await;
    let system = system.restart().await;
    if name == "keycloak" {
        says_that_it_is_ready(&system).await;
    }
    assert!(system.env("URL") == address && system.dir() == dir && system.pid() != first, "the same in another process");
    assert!(!make(&system, name).await, "it has kept its data");

    let last = system.pid();
    system.stop().await;
    // Whoever is killed is still there for a moment.
    until("all processes are gone", || !runs(last) && who_works_in(&dir).is_empty()).await;
    assert!(std::env::var_os("USHER_TEST_DIR").is_some() || !dir.exists(), "{}", dir.display());
}

async fn leaves_nothing(name: &str, hangs: bool) {
    let system = System::start(name).await;
    let (script, server, dir) = (system.script_pid(), system.pid(), system.dir().to_owned());
    assert!(runs(server) && !who_works_in(&dir).is_empty(), "or the rest says nothing");
    if hangs {
        system.pause();
    }
    kill_process(script, Signal::KILL).expect("it runs");
    until("all processes are gone", || !runs(server) && who_works_in(&dir).is_empty()).await;
    until("the folder is gone", || std::env::var_os("USHER_TEST_DIR").is_some() || !dir.exists()).await;
    system.stop().await;
}

/// Looks again until `condition` is true.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < SOON, "after {SOON:?} still not: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A process that has ended may still be in the list, until its parent looks.
fn runs(pid: Pid) -> bool {
    let ended = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).is_ok_and(|stat| stat.contains(") Z "));
    !ended && rustix::process::test_kill_process(pid).is_ok()
}

/// Processes whose working folder or whose arguments are in `dir`. Of their sessions a database shows the first only.
fn who_works_in(dir: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let works = |process: &Path| {
        let within = fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
        let arguments = fs::read(process.join("cmdline")).unwrap_or_default();
        (within || text(&arguments).contains(&*dir.to_string_lossy())).then(|| text(&arguments))
    };
    processes.filter_map(|process| works(&process.path())).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
