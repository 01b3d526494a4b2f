//! Six hundred people in one Role are more than one binding holds: dividing them anew leaves no gap.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::{Stage, VIEW};

/// As many as one binding holds.
const FULL: usize = 500;
/// And some more.
const MANY: usize = 600;
/// Who is asked about all the time: enough that some of those who move are among them, and few, so that they are asked often.
const ASKED: usize = 8;
/// How often they are joined and divided.
const CROSSINGS: usize = 4;

fn person(number: usize) -> String {
    format!("p{number}")
}

/// Makes or changes people, some at a time. They are known by their user names, so that each costs little.
async fn people(stage: &Stage, numbers: std::ops::Range<usize>, team: Option<&str>) {
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
async fn six_hundred_people_are_divided_and_joined_without_a_gap() {
    let mut stage = Stage::alone().await;
    // Nobody needs a workspace here, and six hundred of them take their time.
    stage.environment("dev", json!({"home": null, "workspace": null})).await;
    stage.role("viewer", json!([stage.entry(&["dev"], json!({"clusterRoles": ["view"]}))])).await;
    stage.bind("all", "viewer", &[], json!({"teams": [stage.name("big")]})).await;
    people(&stage, 0..FULL, Some("big")).await;
    held_by(&stage, FULL).await;
    let whole: Vec<String> = shards(&stage).await.into_keys().collect();
    people(&stage, FULL..MANY, Some("big")).await;
    held_by(&stage, MANY).await;
    let divided = shards(&stage).await;
    assert!(divided.len() > 1 && divided.values().all(|people| people.len() <= FULL), "{:?}", sizes(&stage).await);

    // Back and forth over the edge: each time about half of them move. The one who comes and goes belongs where all were, so that this binding gains as it loses.
    let [whole] = whole.try_into().expect("one binding holds them all");
    let belongs = |number: &usize| divided[&whole].contains(&format!("oidc:{}", stage.name(&person(*number))));
    let last = (FULL..MANY).find(belongs).expect("some of them");
    people(&stage, FULL..MANY, None).await;
    held_by(&stage, FULL).await;
    let asked: Vec<String> = (0..ASKED).map(person).collect();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    stage.ask_users(&asked, &["dev-pay"], VIEW).await;
    let held = stage.cells(&asked, &["dev-pay"], VIEW);
    stage.stands(held.clone()).await;
    for _ in 0..CROSSINGS {
        for (what, team, count, parts) in [("divided", Some("big"), FULL + 1, 2), ("joined", None, FULL, 1)] {
            let edit = async |stage: &Stage| {
                people(stage, last..last + 1, team).await;
                held_by(stage, count).await;
            };
            stage.step(what, held.clone(), edit).await;
            assert_eq!(sizes(&stage).await.len(), parts, "{what}");
        }
    }
}
