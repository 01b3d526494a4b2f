//! What `make test` ends with finds a secret wherever it is told, and never prints it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use data_encoding::BASE64;
use serde_json::json;

const PASSWORD: &str = "kG2-vq9_Tr4xW8zLmB-aA1";

/// A run that left an audit log, in which a Secret and a token were made, and an operator's log.
struct Run {
    folder: tempfile::TempDir,
}

impl Run {
    fn new() -> Self {
        let run = Self { folder: tempfile::tempdir().expect("a folder") };
        fs::create_dir_all(run.file("plane/objects")).expect("a folder");
        let secret = json!({
            "stage": "ResponseComplete", "verb": "patch", "objectRef": {"resource": "secrets", "namespace": "dev-ada", "name": "usher-accounts"},
            "responseObject": {
                "kind": "Secret", "metadata": {"namespace": "dev-ada", "name": "usher-accounts"},
                "data": {"forge.password": BASE64.encode(PASSWORD.as_bytes()), "forge.url": BASE64.encode(b"https://forge.example.com")},
            },
        });
        let token = json!({
            "stage": "ResponseComplete", "verb": "create", "objectRef": {"resource": "serviceaccounts", "subresource": "token", "namespace": "usher-system", "name": "usher"},
            "responseObject": {"kind": "TokenRequest", "status": {"token": token()}},
        });
        let refused = json!({
            "stage": "ResponseComplete", "verb": "create", "objectRef": {"resource": "serviceaccounts", "subresource": "token"},
            "responseObject": {"kind": "Status", "status": "Failure"},
        });
        run.write("plane/audit.log", &format!("{secret}\n{token}\n{refused}\n{{\"resource\":\"secrets\", half a line"));
        run.write("plane/operator-1.log", "{\"message\":\"all is well at https://forge.example.com\"}\n");
        run
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).expect("written");
    }

    fn searched(&self, more: &[&str]) -> (bool, String) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hack/no-secrets");
        let Output { status, stdout, stderr } = Command::new(script).args(more).arg(self.folder.path()).output().expect("Python 3.11");
        (status.success(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
    }

    /// It fails, and says where, and which secret.
    #[track_caller]
    fn is_found(&self, place: &str, name: &str) {
        let (clean, said) = self.searched(&[]);
        assert!(!clean && said.contains(place) && said.contains(name), "{said}");
        assert!(!said.contains(PASSWORD) && !said.contains(&token()), "it tells the secret itself: {said}");
    }
}

/// Looks like a ServiceAccount's.
fn token() -> String {
    ["{\"alg\":\"RS256\"}", "{\"sub\":\"system:serviceaccount:usher-system:usher\"}", "not a signature, but as long as one is"]
        .map(|part| data_encoding::BASE64URL_NOPAD.encode(part.as_bytes()))
        .join(".")
}

#[test]
fn what_tells_nothing_passes() {
    let (clean, said) = Run::new().searched(&["--needs", "operator,audit,password,token"]);
    assert!(clean && said.contains("looked for 2 secrets"), "{said}");
}

#[test]
fn a_password_in_a_log_is_found() {
    let run = Run::new();
    run.write("plane/operator-2.log", &format!("one line\nconnecting as ada:{PASSWORD}@forge\n"));
    run.is_found("operator-2.log, line 2", "forge.password of Secret dev-ada/usher-accounts");
}

#[test]
fn a_password_in_base64_is_found_wherever_it_begins() {
    for before in ["", "a", "ab", "ada:", "user=ada, password="] {
        let run = Run::new();
        let text = BASE64.encode(format!("{before}{PASSWORD}\n").as_bytes());
        run.write("plane/objects/events", &json!({"message": text}).to_string());
        run.is_found("objects/events, line 1", "forge.password of Secret dev-ada/usher-accounts, written another way");
    }
}

#[test]
fn a_token_in_another_request_is_found() {
    let run = Run::new();
    let log = fs::read_to_string(run.file("plane/audit.log")).expect("text");
    let status =
        json!({"objectRef": {"resource": "developers"}, "requestObject": {"status": {"message": format!("cannot use {}", token())}}});
    run.write("plane/audit.log", &format!("{status}\n{log}"));
    run.is_found("audit.log", "a token of ServiceAccount usher-system/usher");
}

#[test]
fn what_nobody_registered_is_found_by_its_looks() {
    for told in ["Authorization: Basic YWRhOmh1bnRlcjItaHVudGVyMg==", "-----BEGIN PRIVATE KEY-----"] {
        let run = Run::new();
        run.write("connectors-1.log", told);
        run.is_found("connectors-1.log, line 1", "not known whose it is");
    }
}

#[test]
fn what_a_test_made_is_looked_for_in_metrics() {
    let run = Run::new();
    run.write("made-1.secrets", "the password of bob\tcorrect-horse-battery\n");
    run.write("plane/operator-1.metrics", "usher_leader{why=\"correct-horse-battery\"} 1\n");
    run.is_found("operator-1.metrics, line 1", "the password of bob, as it is");
}

#[test]
fn a_run_that_left_nothing_proves_nothing() {
    let (clean, said) = Run::new().searched(&["--needs", "operator,metrics,credential"]);
    assert!(!clean && said.contains("metrics, credential") && said.contains("nothing is proven"), "{said}");
}
