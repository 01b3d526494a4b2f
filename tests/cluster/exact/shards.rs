//! More people in one Role than one binding holds: dividing them, and bringing them together when most have left, leaves no gap.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use serde_json::{Value, json};
use usher::plan::rbac::SUBJECTS_PER_BINDING;

use super::{Stage, VIEW};

/// As many as fill two bindings and a half.
const MANY: usize = 2 * SUBJECTS_PER_BINDING + SUBJECTS_PER_BINDING / 2;
/// Who is asked about all the time: of those who have to move; few, so that they are asked often.
const ASKED: usize = 8;

fn person(number: usize) -> String {
    format!("p{number}")
}

/// Makes or changes people, some at a time. They are known by their user names, so that each costs little.
async fn people(stage: &Stage, numbers: impl Iterator<Item = usize>, team: Option<&str>) {
    let team = team.map(|team| vec![stage.name(team)]).unwrap_or_default();
    let writes = numbers.map(|number| {
        let user = format!("oidc:{}", stage.name(&person(number)));
        let spec = json!({"kubernetesUser": user, "teams": team});
        async move { stage.developer(&person(number), spec).await }
    });
    stream::iter(writes).buffer_unordered(16).collect::<Vec<_>>().await;
}

/// The subjects of each binding of the Role in a namespace, by the binding's name.
async fn shards(stage: &Stage) -> BTreeMap<String, Vec<String>> {
    let label = format!("usher.dev/role={}", stage.name("viewer"));
    let bindings = stage.read(&["rolebindings", "-n", &stage.name("dev-pay"), "-l", &label]).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let subjects = |binding: &Value| binding["subjects"].as_array().into_iter().flatten().map(|subject| text(&subject["name"])).collect();
    let bindings = bindings["items"].as_array().expect("a list").iter();
    bindings.map(|binding| (text(&binding["metadata"]["name"]), subjects(binding))).collect()
}

/// How many each of them holds.
async fn sizes(stage: &Stage) -> Vec<usize> {
    shards(stage).await.values().map(Vec::len).collect()
}

/// Waits until the Role is applied with this many holders.
async fn held_by(stage: &Stage, count: usize) {
    let api = stage.api("Role").await;
    crate::support::wait_until(&format!("{count} holders"), std::time::Duration::from_mins(2), async || {
        let role = api.get(&stage.name("viewer")).await.map_err(|error| error.to_string())?;
        let sizes = sizes(stage).await;
        let settled = role.data["status"]["holders"] == count && sizes.iter().sum::<usize>() == count;
        if settled { Ok(()) } else { Err(format!("{} holders, bindings of {sizes:?}", role.data["status"]["holders"])) }
    })
    .await;
}

#[tokio::test]
async fn people_are_divided_and_brought_together_without_a_gap() {
    let mut stage = Stage::alone().await;
    // Nobody needs a workspace here, and so many of them take their time.
    stage.environment("dev", json!({"home": null, "workspace": null})).await;
    stage.role("viewer", json!([stage.entry(&["dev"], json!({"clusterRoles": ["view"]}))])).await;
    stage.bind("all", "viewer", &[], json!({"teams": [stage.name("big")]})).await;
    people(&stage, 0..MANY, Some("big")).await;
    held_by(&stage, MANY).await;
    let divided = shards(&stage).await;
    assert!(divided.len() == 3 && divided.values().all(|people| people.len() <= SUBJECTS_PER_BINDING), "{:?}", sizes(&stage).await);

    // The first two bindings lose all, and the third, beyond what so few may have, loses those who stay to them.
    let (last, lonely) = divided.iter().min_by_key(|(_, people)| people.len()).expect("three bindings");
    let stays: Vec<usize> = (0..MANY).filter(|number| lonely.contains(&format!("oidc:{}", stage.name(&person(*number))))).collect();
    assert_eq!(stays.len(), SUBJECTS_PER_BINDING / 2);
    let asked: Vec<String> = stays.iter().take(ASKED).map(|number| person(*number)).collect();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    stage.ask_users(&asked, &["dev-pay"], VIEW);
    let held = stage.cells(&asked, &["dev-pay"], VIEW);
    stage.stands(held.clone()).await;
    let edit = async |stage: &Stage| {
        people(stage, (0..MANY).filter(|number| !stays.contains(number)), None).await;
        held_by(stage, stays.len()).await;
    };
    stage.step("brought together", held.clone(), edit).await;
    let together = shards(&stage).await;
    assert!(!together.contains_key(last) && together.len() <= 2, "{:?} are left of {:?}", together.keys(), divided.keys());

    // And they grow out of it again, while those are asked.
    let edit = async |stage: &Stage| {
        people(stage, (0..MANY).filter(|number| !stays.contains(number)), Some("big")).await;
        held_by(stage, MANY).await;
    };
    stage.step("divided", held, edit).await;
    assert_eq!(sizes(&stage).await.len(), 3);
}
