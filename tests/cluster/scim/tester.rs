//! scim2-tester, which others wrote, checks the server (<https://pypi.org/project/scim2-tester/>).

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::scim::{Sender, declare_source};
use crate::support::{name, operated, tools};

/// Checks that do not apply, each with the reason.
const NOT_APPLICABLE: [(&str, &str); 0] = [];

#[tokio::test]
async fn scim2_tester_finds_nothing_wrong() {
    let shared = operated().await;
    let source = name("tester");
    let token = declare_source(&shared.client, &source, json!({"mode": "Observe"})).await;
    let sender = Sender::new(&shared.all.operator, &shared.all.scim_ca, &source, &token).await;
    sender.let_in().await;
    let ca = shared.all.plane.dir().join(format!("{source}.crt"));
    std::fs::write(&ca, &shared.all.scim_ca).expect("space on the disk");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut install = Command::new(root.join("hack/systems/scim-tester"));
    install.arg("run");
    let python = tools::run(install, "").await.ok();
    let mut check = Command::new(python.trim());
    check.arg("-I").arg(root.join("hack/systems/scim-tester.py")).arg(&sender.base).arg(&ca).env("SCIM_TOKEN", &token);
    let told = tools::run(check, "").await.ok();
    let checks: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let count = |status: &str| checks.iter().filter(|check| check[1] == status).count();
    println!("scim2-tester: {} checks, {} of them passed", checks.len(), count("SUCCESS"));
    let fine = |check: &&Value| {
        let excused = NOT_APPLICABLE.iter().any(|(title, _)| check[0] == *title);
        ["SUCCESS", "COMPLIANT", "ACCEPTABLE"].iter().any(|status| check[1] == *status) || excused
    };
    let wrong: Vec<String> = checks.iter().filter(|check| !fine(check)).map(Value::to_string).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checks.len() > 100, "it went through all of it: {}", checks.len());
}
