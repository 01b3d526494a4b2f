//! The demos check everything that they say, on systems of their own: that is the test.

use std::path::Path;
use std::process::Stdio;

use crate::support::process::{bound_to_us, spawn};

/// How long what takes a moment may take here, in seconds: other tests run beside it.
const PATIENCE: &str = "120";

/// Runs a demo with the operator that was built for the tests, and gives what it printed.
async fn played(name: &'static str) -> String {
    tokio::task::spawn_blocking(move || {
        let mut command = bound_to_us(Path::new(env!("CARGO_MANIFEST_DIR")).join("hack").join(name));
        command.env("USHER_BINARY", env!("CARGO_BIN_EXE_usher")).env("USHER_PATIENCE", PATIENCE).env_remove("USHER_KUBECONFIG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = spawn(command).and_then(std::process::Child::wait_with_output).expect("bash is there");
        let [told, complained] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success(), "hack/{name}: {}\n{told}\n{complained}", output.status);
        told
    })
    .await
    .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

#[tokio::test]
async fn the_demo_does_what_it_says() {
    let told = played("demo").await;
    assert!(told.contains("Ada leaves") && told.contains("condition met"), "{told}");
}

/// Keycloak, Gitea, PostgreSQL, LDAP and SCIM at once: from the Developer to the first commit, through edits of the Role, a suspension and
/// two outages, to the receipt.
#[tokio::test]
async fn the_full_demo_takes_somebody_through_five_systems_and_out_again() {
    let told = played("demo-full").await;
    for line in [
        "Her first commit",
        "narrowed",
        "Ada is suspended",
        "A system hangs",
        "Another one is killed",
        "Ada leaves",
        "no-secrets: looked for ",
    ] {
        assert!(told.contains(line), "it says “{line}”: {told}");
    }
    let receipt = told.split_once("The receipt").expect("a receipt").1;
    for provider in ["chat", "database", "directory", "forge", "identity"] {
        assert!(receipt.contains(&format!("provider/{provider} Disabled ")), "{provider}: {receipt}");
    }
}
