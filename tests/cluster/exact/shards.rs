//! Six hundred people in one Role are more than one binding holds: dividing them anew leaves no gap.

use futures::{StreamExt, stream};
use serde_json::json;

use super::{Stage, VIEW};

/// As many as one binding holds, and some more.
const FEW: usize = 490;
const MANY: usize = 600;
/// Who is asked about all the time: enough that both halves and those who move are among them.
const ASKED: usize = 24;

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

/// The number of subjects in each binding of the Role in a namespace.
async fn sizes(stage: &Stage) -> Vec<usize> {
    let label = format!("usher.dev/role={}", stage.name("viewer"));
    let bindings = stage.read(&["rolebindings", "-n", &stage.name("dev-pay"), "-l", &label]).await;
    let size = |binding: &serde_json::Value| binding["subjects"].as_array().map_or(0, Vec::len);
    bindings["items"].as_array().unwrap().iter().map(size).collect()
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
    people(&stage, 0..FEW, Some("big")).await;
    held_by(&stage, FEW).await;
    assert_eq!(sizes(&stage).await, [FEW]);

    let asked: Vec<String> = (0..ASKED).map(|index| person(index * FEW / ASKED)).collect();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    stage.ask_users(&asked, &["dev-pay"], VIEW).await;
    let held = stage.cells(&asked, &["dev-pay"], VIEW);
    stage.stands(held.clone()).await;
    stage
        .step("divided", held.clone(), async |stage| {
            people(stage, FEW..MANY, Some("big")).await;
            held_by(stage, MANY).await;
        })
        .await;
    let sizes = sizes(&stage).await;
    assert!(sizes.len() > 1 && sizes.iter().all(|size| *size <= 500), "{sizes:?}");
    stage
        .step("joined", held, async |stage| {
            people(stage, FEW..MANY, None).await;
            held_by(stage, FEW).await;
        })
        .await;
}
