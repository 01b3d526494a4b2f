//! As many people as a company has.

use std::sync::Arc;

use futures::{StreamExt, stream};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use usher::api::Grant;

use super::{SOON, address, reader, sign_in};
use crate::support::browser::{Browser, Key};
use crate::support::client::explain;
use crate::support::install::{Install, PATIENT};
use crate::support::operator::Operator;
use crate::support::scim::certify;
use crate::support::{AuditLevel, ControlPlane, client_of, wait_until};

const PEOPLE: usize = 2_500;
/// So long half of the pictures may take while it is scrolled: 16 ms are aimed at, and a machine with two cores may have much else to do.
const MEDIAN_MS: f64 = 100.0;
/// So many rows are in the document at most.
const MOST_ROWS: u64 = 120;

/// Records a Grant for everybody, as the operator writes them: nobody else may.
async fn record(install: &Install) {
    let grants: Arc<Api<Grant>> = Arc::new(Api::all(client_of(&install.kubeconfig()).await));
    let make = |number: usize| {
        let grants = grants.clone();
        async move {
            let (person, role) = (format!("p{number:04}"), ["backend", "viewer", "on-call"][number % 3]);
            let since = "2026-11-23T14:10:55Z";
            let targets: Vec<_> =
                ["dev", "staging", "prod"].iter().map(|it| json!({"name": format!("environment/{it}"), "since": since})).collect();
            let spec = json!({
                "developer": {"name": person, "uid": format!("uid-{number}")}, "role": role, "roleRevision": 1, "grantedBy": "alice@example.com",
                "since": since, "state": "Active", "reason": "Works on it",
                "targets": targets,
                "via": [{"name": format!("team-{}", number % 50), "team": format!("team-{}", number % 50), "since": since}],
                "summary": {"targets": "dev,prod,staging", "via": "", "until": ""},
            });
            let grant = Grant::new(&format!("{person}-{role}"), serde_json::from_value(spec).expect("a Grant"));
            grants.create(&PostParams::default(), &grant).await.unwrap_or_else(|error| panic!("{}", explain(&error)));
        }
    };
    stream::iter((0..PEOPLE).map(make)).buffer_unordered(32).collect::<Vec<()>>().await;
}

#[tokio::test]
async fn two_thousand_five_hundred_people_scroll_smoothly() {
    let plane = ControlPlane::exclusive(AuditLevel::Metadata).await;
    let client = plane.admin_client().await;
    let values =
        [PATIENT[0], PATIENT[1], "page.enabled=true", "page.tlsSecret=usher-scim-tls", "environments.default=false", "starterRoles=false"];
    let install = Install::new(&plane, &values).await;
    certify(&client).await;
    let operator = Operator::start(&install).await;
    operator.ready().await;
    record(&install).await;
    let browser = Browser::start().await;
    browser.goto(&address(&operator).await).await;
    let token = reader(&plane, &client, &["*"]).await;
    wait_until("all of them are on the page", SOON, async || {
        sign_in(&browser, &token).await;
        let told = browser.reads("#told", |told| told.contains("people")).await;
        if told == "2,500 people" {
            return Ok(());
        }
        browser.click("#leave").await;
        Err(told)
    })
    .await;
    let frames = browser.run_until(SCROLL).await;
    let median = frames["median"].as_f64().unwrap_or(f64::MAX);
    println!("2,500 people: {frames}");
    assert!(median < MEDIAN_MS, "{frames}");
    assert!(frames["rows"].as_u64().is_some_and(|rows| rows > 10 && rows < MOST_ROWS), "{frames}");
    assert_eq!(frames["gaps"], 0, "what is in sight is there: {frames}");
    jumps(&browser).await;
    browser.fill("#filter", "team-7 on-call").await;
    let told = browser.reads("#told", |told| told.contains(" of 2,500")).await;
    let wanted = (0..PEOPLE).filter(|number| (number % 50).to_string().starts_with('7') && number % 3 == 2).count();
    assert_eq!(told, format!("{wanted} people of 2,500"));
    browser.quit().await;
    drop(operator);
    plane.stop().await;
}

/// From the first to the last by one key each, and the focus is never lost.
async fn jumps(browser: &Browser) {
    browser.run("document.querySelector('.scroller').scrollTop = 0").await;
    browser.click(".scroller tbody tr[aria-rowindex='2'] td").await;
    browser.press(&[Key::Escape]).await;
    browser.press_with_control(Key::End).await;
    let at = "const it = document.activeElement; return [it.parentElement.ariaRowIndex, it.ariaColIndex, it.innerText]";
    let last = browser.run(at).await;
    assert_eq!((&last[0], &last[1]), (&"2501".into(), &"4".into()), "{last}");
    browser.press(&[Key::PageUp, Key::Home]).await;
    let up = browser.run(at).await;
    assert!(up[0].as_str().and_then(|row| row.parse::<usize>().ok()).is_some_and(|row| row < 2_501 && row > 2_400), "{up}");
    browser.press_with_control(Key::Home).await;
    let first = browser.run(at).await;
    assert!(first[0] == "2" && first[1] == "1" && first[2].as_str().is_some_and(|text| text.contains("p0000")), "{first}");
    // Whoever scrolls on by other means keeps a place.
    browser.run("document.querySelector('.scroller').scrollTop = 60000").await;
    wait_until("the focus follows", SOON, async || {
        let now = browser.run(at).await;
        if now[0].as_str().and_then(|row| row.parse::<usize>().ok()).is_some_and(|row| row > 900) { Ok(()) } else { Err(now.to_string()) }
    })
    .await;
}

/// Scrolls from the first to the last in 150 pictures: how long each took, how many rows there were at most, and how often there was none in the middle.
const SCROLL: &str = "
    const done = arguments[arguments.length - 1];
    const scroller = document.querySelector('.scroller');
    const end = scroller.scrollHeight - scroller.clientHeight;
    const box = scroller.getBoundingClientRect();
    const [times, steps] = [[], 150];
    let [step, before, rows, gaps] = [0, performance.now(), 0, 0];
    const next = (now) => {
      if (step > 1) times.push(now - before);
      before = now;
      if (step > 0) {
        rows = Math.max(rows, scroller.querySelectorAll('tbody tr:not(.pad)').length);
      }
      if (step === steps) {
        times.sort((a, b) => a - b);
        const last = [...scroller.querySelectorAll('tbody tr:not(.pad)')].at(-1).ariaRowIndex;
        done({ median: times[Math.floor(times.length / 2)], worst: times.at(-1), long: times.filter((it) => it > 50).length, rows, gaps, last });
        return;
      }
      step += 1;
      scroller.scrollTop = end * step / steps;
      requestAnimationFrame(() => {
        if (document.elementFromPoint(box.left + 40, box.top + box.height / 2)?.closest('.pad')) gaps += 1;
        next(performance.now());
      });
    };
    requestAnimationFrame(next);
";
