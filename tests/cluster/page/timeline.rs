//! What happened to one person, her receipt, and the figures.

use serde_json::json;

use super::House;
use crate::support::people::{declare, edit, reaches};
use crate::support::{name, wait_until};

#[tokio::test]
async fn a_timeline_tells_of_grants_locks_and_the_departure_and_a_receipt_what_was_taken() {
    let house = House::new().await;
    let lock = name("lock");
    declare(&house.client, "Lock", &lock, json!({"developer": house.person, "reason": "laptop stolen"})).await;
    reaches(&house.client, "Lock", &lock, "/status/state", "Applied").await;
    edit(&house.client, "Developer", &house.person, json!({"state": "Departed"})).await;
    wait_until("her receipt is complete", super::SOON, async || {
        let departures = crate::support::client::kind(&house.client, "Departure").await;
        let all = departures.list(&kube::api::ListParams::default()).await.map_err(|error| error.to_string())?;
        let hers = all.items.iter().find(|it| it.data["spec"]["developer"]["name"] == house.person).ok_or("there is none")?;
        if hers.data["status"]["state"] == "Complete" { Ok(()) } else { Err(hers.data["status"].to_string()) }
    })
    .await;
    let browser = house.signed_in().await;
    browser.click("nav a[href='#/people']").await;
    browser.fill("#person", &house.person).await;
    browser.click("#content form button").await;
    let told = browser.reads(".timeline", |text| text.contains("had nothing left")).await;
    for (kind, wanted) in [
        ("grantBegan", "Works on payments"),
        ("locked", "laptop stolen"),
        ("grantEnded", "DeveloperLocked"),
        ("departureBegan", "by usher-local-admin"),
        ("accessGone", "was denied everywhere"),
        ("departureCompleted", "Complete"),
    ] {
        let text = browser.reads(&format!(".timeline li[data-kind='{kind}']"), |text| text.contains(wanted)).await;
        assert!(told.contains(&text), "{text} is not in {told}");
    }
    browser.click("nav a[href='#/departures']").await;
    let row = format!("[...document.querySelectorAll('.scroller tbody tr')].find((it) => it.innerText.includes('{}'))", house.person);
    let seen =
        wait_until("her receipt is listed", super::SOON, async || match browser.run(&format!("return {row}?.innerText ?? null")).await {
            serde_json::Value::String(text) => Ok(text),
            other => Err(other.to_string()),
        })
        .await;
    assert!(seen.contains("Complete") && seen.contains("by usher-local-admin") && seen.contains("nothing"), "{seen}");
    browser.run(&format!("{row}.cells[1].click()")).await;
    let receipt = browser.reads("#details", |text| text.contains("Where, and how it stands")).await;
    let title = format!("Receipt of {}", house.person);
    for wanted in [title.as_str(), &house.stage.environment, "Gone", "Every API server that answers denied after"] {
        assert!(receipt.contains(wanted), "{wanted} is not in {receipt}");
    }
    browser.click("#close").await;
    browser.click("nav a[href='#/scorecards']").await;
    let card = browser.reads(".figures", |text| text.contains("Time to First Commit")).await;
    for wanted in ["Access Error Rate", "Manual Touchpoints", "Consistency Index"] {
        assert!(card.contains(wanted), "{wanted} is not in {card}");
    }
    browser.reads("#content", |text| text.contains("Team") && text.contains("team-")).await;
    browser.quit().await;
}
