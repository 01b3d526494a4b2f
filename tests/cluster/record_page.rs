//! Every command on the page for auditors works as it is written there.

use std::time::Duration;

use serde_json::json;

use crate::support::client::{self, ready};
use crate::support::fleet::{object, put};
use crate::support::install::{Install, PATIENT};
use crate::support::operator::Operator;
use crate::support::people::{edit, grants};
use crate::support::{AuditLevel, ControlPlane, run_as_written, wait_until};

const SOON: Duration = Duration::from_mins(1);

/// The commands in the blocks of a page that are for a shell.
fn commands(page: &str) -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = std::fs::read_to_string(path).expect("the page");
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_command_of_the_page_for_auditors_works() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let client = plane.admin_client().await;
    let install = Install::new(&plane, &PATIENT).await;
    let mut operator = Operator::start_with(&install, &["--identity", "usher-0"]).await;
    operator.ready().await;
    client::namespace(&client, "shop", &[("usher.dev/managed", "true")]).await;
    let access = json!([{"name": "work", "environments": ["dev"], "clusterRoles": ["edit"]}]);
    put(&client, object("Role", "backend", &json!({"access": access}))).await;
    put(&client, object("Binding", "work", &json!({"role": "backend", "developers": ["ada", "bob"]}))).await;
    for name in ["ada", "bob"] {
        put(&client, object("Developer", name, &json!({"email": format!("{name}@example.com")}))).await;
    }
    for name in ["ada", "bob"] {
        ready(&client, name).await;
    }
    wait_until("it is recorded", SOON, async || if grants(&client, "ada").await.len() == 1 { Ok(()) } else { Err("not yet") }).await;
    edit(&client, "Developer", "bob", json!({"state": "Departed"})).await;

    let commands = commands("docs/auditing.md");
    assert!(commands.len() > 12, "{commands:?}");
    for command in commands {
        let said = run_as_written(&plane, &command).await;
        assert!(said.success, "{command}: {said:?}");
        println!("$ {command}\n{}{}", said.stdout, said.stderr);
    }
    operator.terminate().await;
    plane.stop().await;
}
