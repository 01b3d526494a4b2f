//! The matrix, and the Grants behind a cell.

use super::House;

#[tokio::test]
async fn the_matrix_shows_who_has_what_where_and_a_cell_opens_the_grants_behind_it() {
    let house = House::new().await;
    let browser = house.looking_at_her().await;
    let row = browser.reads(".scroller tbody tr[aria-rowindex='2']", |row| row.contains("✓ verified")).await;
    for wanted in ["Ada Lovelace", &house.person, &house.team, &house.role] {
        assert!(row.contains(wanted), "{wanted} is not in {row}");
    }
    for wanted in [&house.team, &house.role] {
        browser.fill("#filter", wanted).await;
        let row = browser.reads(".scroller tbody", |rows| rows.contains(&house.person)).await;
        assert!(row.contains(wanted), "{row}");
    }
    browser.fill("#filter", &format!("{} nobody-is-called-so", house.person)).await;
    browser.reads("#told", |told| told.starts_with("0 people")).await;
    browser.fill("#filter", &house.person).await;
    let column = browser
        .run(&format!(
            "return [...document.querySelectorAll('thead th')].findIndex((it) => it.textContent === '{}') + 1",
            house.stage.environment
        ))
        .await;
    let cell = format!(".scroller tbody tr[aria-rowindex='2'] [aria-colindex='{column}']");
    browser.reads(&cell, |text| text.contains(&house.role)).await;
    browser.click(&cell).await;
    let told = browser.reads("#details", |text| text.contains("Works on payments")).await;
    for wanted in [&house.role, &house.team, &house.binding, &house.stage.environment, "usher-local-admin", "✓ verified", "no end"] {
        assert!(told.contains(wanted), "{wanted} is not in {told}");
    }
    browser.click("#details-content a").await;
    browser.reads("#title", |title| title == format!("Timeline of {}", house.person)).await;
    // Nothing came from elsewhere, and nothing can.
    let origins = browser.run("return [...new Set(performance.getEntries().map((it) => it.name).filter((it) => it.includes('://')).map((it) => new URL(it).origin))]").await;
    assert_eq!(origins, serde_json::json!([house.url.trim_end_matches('/')]));
    let refused = browser
        .run_until(
            "const done = arguments[arguments.length - 1];
             document.addEventListener('securitypolicyviolation', (it) => done(it.effectiveDirective));
             fetch('https://127.0.0.1:1/').catch(() => {});",
        )
        .await;
    assert_eq!(refused, "connect-src");
    let stored = browser.run("return [localStorage.length, sessionStorage.length, document.cookie, location.search, location.href]").await;
    assert_eq!((&stored[0], &stored[1], &stored[2], &stored[3]), (&0.into(), &0.into(), &"".into(), &"".into()), "{stored}");
    browser.quit().await;
}
