//! Good objects are accepted, and get the defaults that are promised.

use serde_json::Value;

use super::case::{Case, table};
use crate::support::client::{dry_run, explain};
use crate::support::{bare, name};

#[tokio::test]
async fn good_objects_are_accepted_with_their_defaults() {
    let client = bare().await.admin_client().await;
    let cases = table(include_str!("accepted.yaml"));
    let mut failures = Vec::new();
    for case in &cases {
        let name = case.name.clone().unwrap_or_else(|| name("good"));
        match dry_run(&client, &case.object(&name, &case.spec)).await {
            Ok(object) => failures.extend(compare(case, &object.data["spec"])),
            Err(error) => failures.push(format!("- {}: {}", case.what, explain(&error))),
        }
    }
    assert!(cases.len() > 20, "the table is read: {}", cases.len());
    assert!(failures.is_empty(), "{} of {} rows:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

fn compare(case: &Case, spec: &Value) -> Vec<String> {
    let differs = case.then.iter().filter(|(pointer, wanted)| spec.pointer(pointer).unwrap_or(&Value::Null) != *wanted);
    differs.map(|(pointer, wanted)| format!("- {}: {pointer} is {:?}, not {wanted}", case.what, spec.pointer(pointer))).collect()
}
