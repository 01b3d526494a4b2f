//! The page about several clusters, followed word for word: so staging is set up, and its kubeconfig is made anew.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::ControlPlane;
use crate::support::tools;

/// What the page says to do, a block each: install there, make the kubeconfig, name it in an Environment; make another kubeconfig.
fn blocks() -> Vec<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/tasks/several-clusters.md");
    let text = std::fs::read_to_string(path).expect("the page");
    let blocks: Vec<String> = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect();
    assert_eq!(blocks.len(), 4, "{blocks:?}");
    blocks
}

/// Sets staging up.
pub async fn set_up(home: &ControlPlane, staging: &ControlPlane) {
    for block in &blocks()[..3] {
        follow(home, staging, block).await;
    }
}

/// Makes another kubeconfig for it.
pub async fn rotate(home: &ControlPlane, staging: &ControlPlane) {
    follow(home, staging, &blocks()[3]).await;
}

async fn follow(home: &ControlPlane, staging: &ControlPlane, block: &str) {
    let folder = home.dir().join("page");
    std::fs::create_dir_all(&folder).expect("space on the disk");
    let charts = folder.join("charts");
    if !charts.exists() {
        std::os::unix::fs::symlink(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("charts"), &charts).expect("a link");
    }
    let kubeconfig = folder.join("administrator.kubeconfig");
    std::fs::write(&kubeconfig, contexts(&[("home", home), ("staging", staging)]).await.to_string()).expect("space on the disk");
    let folders =
        [tools::tool("kubectl"), PathBuf::from(env!("CARGO_BIN_EXE_usher"))].map(|tool| tool.parent().expect("a folder").to_owned());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&path))).expect("no colons");
    let mut command = tools::command("bash", home.dir());
    command.current_dir(&folder).env("PATH", path).env("KUBECONFIG", &kubeconfig).args(["-euo", "pipefail", "-c", block]);
    let said = tools::run(command, "").await;
    assert!(said.success, "{block}\n{said:?}");
    std::fs::remove_file(kubeconfig).expect("it is there");
}

/// An administrator's kubeconfig with a context for each cluster.
async fn contexts(planes: &[(&str, &ControlPlane)]) -> Value {
    let (mut clusters, mut users, mut contexts) = (Vec::new(), Vec::new(), Vec::new());
    for (name, plane) in planes {
        let text = plane.kubectl(&["config", "view", "--raw", "--flatten", "-o", "json"]).await.ok();
        let config: Value = serde_json::from_str(&text).expect("JSON");
        clusters.push(json!({"name": name, "cluster": config["clusters"][0]["cluster"]}));
        users.push(json!({"name": name, "user": config["users"][0]["user"]}));
        contexts.push(json!({"name": name, "context": {"cluster": name, "user": name}}));
    }
    json!({"apiVersion": "v1", "kind": "Config", "clusters": clusters, "users": users, "contexts": contexts, "current-context": "home"})
}
