//! A real browser, Chromium without a window, driven as WebDriver has it (<https://www.w3.org/TR/webdriver2/>): a handful of requests in JSON. The clients that
//! there are for it change, by the features of what they share with usher, the very program that is tested (thirtyfour the order of fields in JSON).

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use data_encoding::BASE64;
use reqwest::Method;
use serde_json::{Value, json};
use usher::connectors::tls;

use super::systems::{System, shared};
use super::wait_until;

/// The least that makes it quiet and alike everywhere: no window, no sandbox (root may have none), nothing fetched by itself.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,800",
];

/// What WebDriver calls the reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
const SOON: Duration = Duration::from_secs(20);

/// A key that is no letter, as WebDriver calls it.
#[derive(Clone, Copy, Debug)]
pub enum Key {
    Tab,
    Enter,
    Escape,
    PageUp,
    End,
    Home,
    Left,
}

impl Key {
    const fn code(self) -> &'static str {
        match self {
            Self::Tab => "\u{E004}",
            Self::Enter => "\u{E007}",
            Self::Escape => "\u{E00C}",
            Self::PageUp => "\u{E00E}",
            Self::End => "\u{E010}",
            Self::Home => "\u{E011}",
            Self::Left => "\u{E012}",
        }
    }
}

const CONTROL: &str = "\u{E009}";

/// A session: a browser of its own with nothing remembered.
pub struct Browser {
    http: reqwest::Client,
    /// Where the session is.
    session: String,
}

/// What assistive technology is told of an element.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    pub role: String,
    pub label: String,
}

impl Browser {
    /// Starts one. What is missing on this machine is installed first, and the test fails if that fails.
    pub async fn start() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(1);
        let system: &System = shared("chromium").await;
        let profile = system.dir().join(format!("profile-{}", COUNTER.fetch_add(1, Ordering::Relaxed)));
        let profile = format!("--user-data-dir={}", profile.display());
        let flags: Vec<&str> = FLAGS.into_iter().chain([profile.as_str()]).collect();
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "acceptInsecureCerts": true,
            "timeouts": {"script": 180_000},
            "goog:chromeOptions": {"binary": system.env("BROWSER"), "args": flags},
        }}});
        let http = reqwest::Client::builder().tls_backend_preconfigured(tls::config(None).expect("CAs")).no_proxy();
        let http = http.timeout(Duration::from_mins(4)).build().expect("a client");
        let mut browser = Self { http, session: format!("{}/session", system.env("URL")) };
        let made = browser.must(Method::POST, "", Some(wanted)).await;
        browser.session = format!("{}/{}", browser.session, made["sessionId"].as_str().expect("a session"));
        browser
    }

    /// Ends it. A test that fails leaves that to the end of the process.
    pub async fn quit(self) {
        self.must(Method::DELETE, "", None).await;
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, String> {
        let request = self.http.request(method, format!("{}{path}", self.session));
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let response = request.send().await.map_err(|error| format!("{error:?}"))?;
        let right = response.status().is_success();
        let answer: Value = response.json().await.map_err(|error| format!("{error:?}"))?;
        if right { Ok(answer["value"].clone()) } else { Err(format!("{}: {}", answer["value"]["error"], answer["value"]["message"])) }
    }

    async fn must(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        self.ask(method, path, body).await.unwrap_or_else(|problem| panic!("{path}: {problem}"))
    }

    /// Opens an address.
    pub async fn goto(&self, url: &str) {
        self.must(Method::POST, "/url", Some(json!({"url": url}))).await;
    }

    async fn find(&self, selector: &str) -> Result<String, String> {
        let found = self.ask(Method::POST, "/element", Some(json!({"using": "css selector", "value": selector}))).await?;
        found[ELEMENT].as_str().map(str::to_owned).ok_or_else(|| format!("no element: {found}"))
    }

    /// What a selector finds, as soon as it is there and can be seen.
    pub async fn one(&self, selector: &str) -> String {
        wait_until(&format!("{selector} is seen"), SOON, async || {
            let element = self.find(selector).await?;
            let seen = self.ask(Method::GET, &format!("/element/{element}/displayed"), None).await?;
            if seen == true { Ok(element) } else { Err("it is there and is not seen".to_owned()) }
        })
        .await
    }

    /// Clicks what a selector finds.
    pub async fn click(&self, selector: &str) {
        let element = self.one(selector).await;
        self.must(Method::POST, &format!("/element/{element}/click"), Some(json!({}))).await;
    }

    /// Types into what a selector finds, instead of what stood there.
    pub async fn fill(&self, selector: &str, text: &str) {
        let element = self.one(selector).await;
        self.must(Method::POST, &format!("/element/{element}/clear"), Some(json!({}))).await;
        self.must(Method::POST, &format!("/element/{element}/value"), Some(json!({"text": text}))).await;
    }

    /// Presses keys one after another, wherever the focus is.
    pub async fn press(&self, keys: &[Key]) {
        for key in keys {
            self.keys(vec![down(key.code()), up(key.code())]).await;
        }
    }

    /// Presses a key with Control.
    pub async fn press_with_control(&self, key: Key) {
        self.keys(vec![down(CONTROL), down(key.code()), up(key.code()), up(CONTROL)]).await;
    }

    /// Types wherever the focus is.
    pub async fn type_in(&self, text: &str) {
        let letters = text.chars().map(String::from);
        self.keys(letters.flat_map(|letter| [down(&letter), up(&letter)]).collect()).await;
    }

    async fn keys(&self, actions: Vec<Value>) {
        self.must(Method::POST, "/actions", Some(json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}))).await;
    }

    /// Runs a script in the page and gives what it returns.
    pub async fn run(&self, script: &str) -> Value {
        self.must(Method::POST, "/execute/sync", Some(json!({"script": script, "args": []}))).await
    }

    /// The same for a script that calls its last argument with what it has to say.
    pub async fn run_until(&self, script: &str) -> Value {
        self.must(Method::POST, "/execute/async", Some(json!({"script": script, "args": []}))).await
    }

    /// Waits until the text that a reader sees in what a selector finds satisfies a test; gives that text.
    pub async fn reads(&self, selector: &str, right: impl Fn(&str) -> bool) -> String {
        wait_until(&format!("{selector} reads as it should"), SOON, async || {
            match self.run(&format!("return document.querySelector({})?.innerText ?? null", json!(selector))).await {
                Value::String(text) if right(&text) => Ok(text),
                other => Err(other.to_string()),
            }
        })
        .await
    }

    /// What assistive technology is told of what a selector finds, in sight or not: its computed role and label.
    pub async fn told(&self, selector: &str) -> Told {
        let element = self.find(selector).await.unwrap_or_else(|problem| panic!("{selector}: {problem}"));
        self.computed(&element).await
    }

    /// The same of what has the focus.
    pub async fn focus(&self) -> Told {
        let found = self.must(Method::GET, "/element/active", None).await;
        self.computed(found[ELEMENT].as_str().expect("an element")).await
    }

    async fn computed(&self, element: &str) -> Told {
        let text = async |what: &str| {
            let value = self.must(Method::GET, &format!("/element/{element}/{what}"), None).await;
            value.as_str().unwrap_or_default().to_owned()
        };
        Told { role: text("computedrole").await, label: text("computedlabel").await }
    }

    /// A picture of what is seen.
    #[allow(dead_code, reason = "for whoever wants to look")]
    pub async fn picture(&self, file: &std::path::Path) {
        let picture = self.must(Method::GET, "/screenshot", None).await;
        let picture = BASE64.decode(picture.as_str().expect("a picture").as_bytes()).expect("Base64");
        std::fs::write(file, picture).expect("space on the disk");
    }
}

fn down(key: &str) -> Value {
    json!({"type": "keyDown", "value": key})
}

fn up(key: &str) -> Value {
    json!({"type": "keyUp", "value": key})
}
