//! The alerts of the chart ring when they should, and only then: Prometheus' own promtool says so.

use std::fs;

use serde_json::Value;

use crate::support::install::Install;
use crate::support::{AuditLevel, ControlPlane, run_as_written};

#[tokio::test]
async fn every_alert_rings_when_it_should_and_only_then() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let arguments = ["template", "usher", "charts/usher", "--show-only", "templates/prometheusrule.yaml"];
    let rule =
        Install::in_plane(&plane).helm(&arguments, &["prometheusRule.enabled=true", "prometheusRule.labels.release=main"]).await.ok();
    let rule: Value = serde_saphyr::from_str(&rule).expect("YAML");
    assert_eq!((&rule["kind"], &rule["metadata"]["labels"]["release"]), (&"PrometheusRule".into(), &"main".into()));
    let mut spec = rule["spec"].clone();
    let alerts = spec["groups"][0]["rules"].as_array_mut().expect("alerts");
    let (page, cases) = (read("docs/metrics.md"), read("tests/cluster/alerts.yaml"));
    for alert in alerts {
        let name = alert["alert"].as_str().expect("a name").to_owned();
        assert!(page.contains(&format!("| `{name}` |")), "docs/metrics.md does not say what to do about {name}");
        let rings = format!("alertname: {name}, exp_alerts: [{{");
        assert!(cases.contains(&rings), "tests/cluster/alerts.yaml does not say when {name} rings");
        // promtool compares them too; what they say is for people.
        let notes = alert.as_object_mut().expect("an alert").remove("annotations");
        assert!(notes.is_some_and(|notes| notes["summary"].is_string() && notes["description"].is_string()), "{name} says nothing");
    }
    fs::write(plane.dir().join("alerts.yaml"), spec.to_string()).expect("space on the disk");
    fs::write(plane.dir().join("cases.yaml"), cases).expect("space on the disk");
    let line =
        "promtool=$(hack/systems/promtool run); cd \"$KUBECONFIG_DIR\"; $promtool check rules alerts.yaml; $promtool test rules cases.yaml";
    run_as_written(&plane, &line.replace("$KUBECONFIG_DIR", &plane.dir().display().to_string())).await.ok();
    plane.stop().await;
}

fn read(file: &str) -> String {
    fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}
