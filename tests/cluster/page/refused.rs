//! Who sees nothing, or only a part, and what is said then.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;
use usher::connectors::tls;

use super::{House, sign_in};
use crate::support::browser::Browser;
use crate::support::wait_until;

struct Asker {
    http: reqwest::Client,
    url: String,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Fails unless that was the status; gives the sentence.
    #[track_caller]
    fn refused(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        let body: Value = serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        body["message"].as_str().unwrap_or_else(|| panic!("no sentence: {self:?}")).to_owned()
    }
}

impl Asker {
    fn new(house: &House) -> Self {
        let http = reqwest::Client::builder().tls_backend_preconfigured(tls::config(Some(&house.shared.all.scim_ca)).expect("a CA"));
        Self { http: http.timeout(Duration::from_secs(30)).build().expect("a client"), url: house.url.clone() }
    }

    async fn ask(&self, method: Method, path: &str, token: Option<&str>, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("{path}: {error:?}"));
        Answer { status: response.status().as_u16(), headers: response.headers().clone(), text: response.text().await.expect("a body") }
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        self.ask(Method::GET, path, Some(token), &[]).await
    }
}

const VIEWS: [&str; 5] = ["api/v1/session", "api/v1/access", "api/v1/people/ada", "api/v1/departures", "api/v1/scorecards"];

#[tokio::test]
async fn nobody_sees_anything_without_a_token_that_the_cluster_knows_nor_what_she_may_not_list() {
    let house = House::new().await;
    let asker = Asker::new(&house);
    for path in VIEWS {
        let none = asker.ask(Method::GET, path, None, &[]).await;
        assert!(none.refused(401).contains("kubectl create token") && none.header("www-authenticate").starts_with("Bearer"), "{none:?}");
        assert!(asker.get(path, "made-up").await.refused(401).contains("does not know this token"));
    }
    let nothing = house.reader(&[]).await;
    for (path, wanted) in VIEWS.into_iter().zip(["grants", "grants", "grants", "departures", "scorecards"]) {
        let sentence = asker.get(path, &nothing).await.refused(403);
        assert!(
            sentence.contains("list") && sentence.contains(&format!("{wanted}.usher.dev")) && sentence.contains("usher-auditor"),
            "{sentence}"
        );
    }
    let some = house.reader(&["departures"]).await;
    assert_eq!(asker.get("api/v1/departures", &some).await.status, 200);
    assert!(asker.get("api/v1/access", &some).await.refused(403).contains("may not list grants.usher.dev"));
    let grants = house.reader(&["grants"]).await;
    let person = asker.get(&format!("api/v1/people/{}", house.person), &grants).await;
    assert!(person.status == 200 && person.text.contains(&house.role) && !person.text.contains("Ada Lovelace"), "{person:?}");
    assert!(person.text.contains("You may not list developers.usher.dev"), "{person:?}");
    assert!(asker.get("api/v1/people/nobody-of-that-name", &grants).await.refused(404).contains("knows nobody"));
    let log = house.shared.all.operator.log();
    for token in [&nothing, &some, &grants] {
        assert!(!log.contains(token.as_str()), "a token is in the log");
    }
}

#[tokio::test]
async fn what_was_allowed_ends_soon_after_it_is_taken_away() {
    let house = House::new().await;
    let asker = Asker::new(&house);
    let token = house.reader(&["grants"]).await;
    assert_eq!(asker.get("api/v1/access", &token).await.status, 200);
    let bindings: kube::Api<k8s_openapi::api::rbac::v1::ClusterRoleBinding> = kube::Api::all(house.client.clone());
    let claims = crate::support::install::claims_of(&token);
    let account = claims["kubernetes.io"]["serviceaccount"]["name"].as_str().expect("an account").to_owned();
    bindings.delete(&account, &kube::api::DeleteParams::default()).await.expect("deleted");
    wait_until("she sees nothing more", Duration::from_secs(20), async || {
        let answer = asker.get("api/v1/access", &token).await;
        if answer.status == 403 { Ok(()) } else { Err(answer.status) }
    })
    .await;
}

#[tokio::test]
async fn every_answer_forbids_what_is_not_needed_and_a_document_that_did_not_change_is_not_sent_again() {
    let house = House::new().await;
    let asker = Asker::new(&house);
    let token = house.reader(&["*"]).await;
    for (path, cache) in [("", "no-cache"), ("page.js", "no-cache"), ("api/v1/scorecards", "no-store"), ("nothing", "no-store")] {
        let answer = asker.get(path, &token).await;
        let policy = answer.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "form-action 'none'",
        ] {
            assert!(policy.contains(part), "{part} is not in {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_eq!((answer.header("x-content-type-options"), answer.header("referrer-policy")), ("nosniff", "no-referrer"), "{path}");
        assert_eq!(answer.header("cache-control"), cache, "{path}");
    }
    assert_eq!(asker.get("nothing", &token).await.status, 404);
    assert_eq!(asker.get("api/v1/people/..%2f..", &token).await.status, 404);
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = asker.ask(method, "api/v1/access", Some(&token), &[]).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"), "{answer:?}");
    }
    let path = format!("api/v1/people/{}", house.person);
    let first = asker.get(&path, &token).await;
    let again = asker.ask(Method::GET, &path, Some(&token), &[("if-none-match", first.header("etag"))]).await;
    assert_eq!((again.status, again.text.as_str()), (304, ""), "{again:?}");
    let other = asker.ask(Method::GET, &path, Some("made-up"), &[("if-none-match", first.header("etag"))]).await;
    assert_eq!(other.status, 401, "a version opens no door");
}

#[tokio::test]
async fn the_page_says_what_is_missing_and_shows_the_rest() {
    let house = House::new().await;
    let browser = Browser::start().await;
    browser.goto(&house.url).await;
    sign_in(&browser, "made-up").await;
    browser.reads("#door-said", |said| said.contains("does not know this token")).await;
    sign_in(&browser, "two words").await;
    browser.reads("#door-said", |said| said.contains("is no token")).await;
    sign_in(&browser, &house.reader(&[]).await).await;
    browser
        .reads("#door-said", |said| said.contains("may list none of grants.usher.dev, departures.usher.dev, scorecards.usher.dev"))
        .await;
    let focused = browser.focus().await;
    assert_eq!(focused.label, "Token", "one tries again: {focused:?}");
    sign_in(&browser, &house.reader(&["departures"]).await).await;
    browser.reads("#title", |title| title == "Departures").await;
    browser.click("nav a[href='#/access']").await;
    browser.reads("#wrong", |said| said.contains("may not list grants.usher.dev") && said.contains("usher-auditor")).await;
    browser.click("#leave").await;
    browser.one("#token").await;
    let left = browser.run("return document.querySelector('#content').innerText + document.querySelector('#token').value").await;
    assert_eq!(left, "", "nothing of it is left");
    browser.quit().await;
}
