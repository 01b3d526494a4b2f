//! The command line without a cluster: what it prints, and how it ends.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn usher(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_usher"));
    command.args(arguments).env_remove("KUBECONFIG").env("HOME", "/nonexistent").output().expect("the binary runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("has a parent")).expect("a folder");
        fs::write(path, content).expect("a file");
    }
    folder
}

fn path(folder: &tempfile::TempDir) -> &str {
    folder.path().to_str().expect("a plain path")
}

const ENVIRONMENT: &str = "{apiVersion: usher.dev/v1alpha1, kind: Environment, metadata: {name: dev}, spec: {namespaces: {matchLabels: {env: dev}}, workspace: {}}}";
const ROLE: &str = "{apiVersion: usher.dev/v1alpha1, kind: Role, metadata: {name: backend}, spec: {access: [{name: work, environments: [dev], clusterRoles: [edit]}]}}";
const ADA: &str =
    "{apiVersion: usher.dev/v1alpha1, kind: Developer, metadata: {name: ada}, spec: {email: ada@example.com, teams: [payments]}}";
const BINDING: &str =
    "{apiVersion: usher.dev/v1alpha1, kind: Binding, metadata: {name: payments}, spec: {role: backend, teams: [payments]}}";

#[test]
fn a_plan_names_who_gains_what_and_ends_with_one() {
    let after = folder(&[
        ("a.yaml", &format!("{ENVIRONMENT}\n---\n{ROLE}")),
        ("people/ada.yml", ADA),
        ("people/b.json", BINDING),
        ("notes.txt", "no: [yaml"),
    ]);
    let output = usher(&["plan", "-f", path(&after)]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let said = text(&output);
    assert!(
        said.contains("dev/ada in uenv/dev\n  + urole/backend: edit in all shared namespaces\n  + workspace dev-ada: usher-developer\n"),
        "{said}"
    );
    assert!(said.ends_with("1 people: +2 -0\n"), "{said}");
}

#[test]
fn a_plan_without_a_difference_ends_with_zero() {
    let same = folder(&[("all.yaml", &format!("{ENVIRONMENT}\n---\n{ROLE}\n---\n{ADA}\n---\n{BINDING}"))]);
    let output = usher(&["plan", "-f", path(&same), "--base", path(&same)]);
    assert_eq!((output.status.code(), text(&output).as_str()), (Some(0), "Nobody gains or loses anything.\n"));
}

#[test]
fn a_plan_as_json_names_losses_and_what_is_wrong() {
    let before = folder(&[("all.yaml", &format!("{ENVIRONMENT}\n---\n{ROLE}\n---\n{ADA}\n---\n{BINDING}"))]);
    let after = folder(&[("all.yaml", &format!("{ENVIRONMENT}\n---\n{ADA}\n---\n{BINDING}"))]);
    let output = usher(&["plan", "-f", path(&after), "--base", path(&before), "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(plan["changes"][0]["loses"][0], "urole/backend: edit in all shared namespaces");
    assert_eq!(plan["warnings"][0]["object"], "ubind/payments");
    assert!(plan["warnings"][0]["message"].as_str().expect("text").contains("urole/backend does not exist"));
}

#[test]
fn a_plan_names_accounts_and_groups_at_providers() {
    let provider = "{apiVersion: usher.dev/v1alpha1, kind: Provider, metadata: {name: forge}, spec: {scim: {url: \"https://forge.example\", credentialsSecret: {name: forge, key: token}}}}";
    let role = |groups: &str| ROLE.replace("spec: {", &format!("spec: {{accounts: [{{provider: forge, groups: [{groups}]}}], "));
    let all = |groups: &str, ada: &str| {
        folder(&[("all.yaml", &format!("{ENVIRONMENT}\n---\n{}\n---\n{ada}\n---\n{BINDING}\n---\n{provider}", role(groups)))])
    };
    let none = folder(&[("all.yaml", &format!("{ENVIRONMENT}\n---\n{ROLE}\n---\n{ADA}\n---\n{BINDING}\n---\n{provider}"))]);
    let one = all("a, b", ADA);
    let said = text(&usher(&["plan", "-f", path(&one), "--base", path(&none)]));
    assert_eq!(said, "dev/ada at uprov/forge\n  + account ada\n  + group a\n  + group b\n1 people: +3 -0\n");
    let other = all("b", &ADA.replace("spec: {", "spec: {accounts: [{provider: forge, username: lovelace}], "));
    let output = usher(&["plan", "-f", path(&other), "--base", path(&one), "-o", "json"]);
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(plan["changes"][0]["provider"], "forge");
    assert_eq!(plan["changes"][0]["gains"], serde_json::json!(["account lovelace"]));
    assert_eq!(plan["changes"][0]["loses"], serde_json::json!(["account ada", "group a"]));
    assert_eq!(plan["warnings"], serde_json::json!([]));
    let left = ADA.replace("spec: {", "spec: {state: Departed, ");
    let said = text(&usher(&["plan", "-f", path(&all("a", &left)), "--base", path(&one)]));
    assert!(said.contains("dev/ada at uprov/forge\n  - account ada\n"), "{said}");
}

#[test]
fn a_plan_is_for_a_moment() {
    let ended = BINDING.replace("teams: [payments]", "teams: [payments], expiresAt: \"2026-12-01T00:00:00Z\"");
    let files = folder(&[("all.yaml", &format!("{ENVIRONMENT}\n---\n{ROLE}\n---\n{ADA}\n---\n{ended}"))]);
    let at = |moment: &str| text(&usher(&["plan", "-f", path(&files), "--at", moment]));
    assert!(at("2026-11-30T23:59:59Z").contains("urole/backend"));
    assert!(!at("2026-12-01T00:00:00Z").contains("urole/backend"));
}

#[test]
fn a_plan_tells_of_locks() {
    let lock = "{apiVersion: usher.dev/v1alpha1, kind: Lock, metadata: {name: stolen}, spec: {developer: ada, reason: SEC-91}}";
    let all = format!("{ENVIRONMENT}\n---\n{ROLE}\n---\n{ADA}\n---\n{BINDING}");
    let (before, after) = (folder(&[("all.yaml", &all)]), folder(&[("all.yaml", &format!("{all}\n---\n{lock}"))]));
    let output = usher(&["plan", "-f", path(&after), "--base", path(&before)]);
    assert!(text(&output).ends_with("1 people: +0 -2\n"), "{}", text(&output));
}

#[test]
fn a_plan_against_live_clusters_says_how_to_name_one() {
    let files = folder(&[("all.yaml", ADA)]);
    let output = usher(&["plan", "-f", path(&files), "--live"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("set KUBECONFIG"), "{}", text(&output));
    for arguments in [&["--prune"][..], &["--live", "--base", "x"], &["--live", "--may-bind", "admin"]] {
        let output = usher(&[&["plan", "-f", path(&files)], arguments].concat());
        assert!(output.status.code() == Some(2) && text(&output).contains("--live"), "{arguments:?}: {}", text(&output));
    }
}

#[test]
fn a_bad_manifest_is_an_error_that_names_file_object_and_field() {
    let files = folder(&[("role.yaml", &ROLE.replace("clusterRoles", "clusterroles"))]);
    let output = usher(&["plan", "-f", path(&files)]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output);
    assert!(said.contains("role.yaml") && said.contains("Role backend") && said.contains("clusterroles"), "{said}");
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let output = usher(&["plan", "-f", "/nonexistent/manifests"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("/nonexistent/manifests"));
}

#[test]
fn crds_are_written_where_asked() {
    let folder = folder(&[]);
    assert!(usher(&["crds", "--dir", path(&folder)]).status.success());
    for kind in usher::api::KINDS {
        assert!(Path::new(path(&folder)).join(format!("crds/{kind}.yaml")).exists(), "{kind}");
    }
}

#[test]
fn every_command_explains_itself() {
    for command in ["run", "crds", "plan", "grant", "kubeconfig", "uninstall", "who-has", "who-had", "why", "orphans"] {
        let output = usher(&[command, "--help"]);
        assert!(output.status.success() && text(&output).len() > 200, "{command}: {}", text(&output));
    }
}

#[test]
fn without_a_cluster_a_command_says_how_to_name_one() {
    let output = usher(&["kubeconfig", "ada"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("set KUBECONFIG"), "{}", text(&output));
}

#[test]
fn an_unreadable_length_of_time_is_refused_with_an_example() {
    let output = usher(&["grant", "backend", "ada", "--for", "four hours", "--reason", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("for example 30m, 8h or 7d"), "{}", text(&output));
}
