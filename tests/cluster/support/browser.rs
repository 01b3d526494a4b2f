//! A real browser, Chromium without a window, driven as WebDriver has it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustls::crypto::ring::default_provider;
use serde_json::{Value, json};
use thirtyfour::common::command::FormatRequestData;
use thirtyfour::prelude::*;
use thirtyfour::{ElementId, RequestData, SessionId};

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

const SOON: Duration = Duration::from_secs(20);

/// A session: a browser of its own with nothing remembered.
pub struct Browser {
    driver: WebDriver,
}

/// What assistive technology is told of an element.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    pub role: String,
    pub label: String,
}

/// A question of WebDriver that the client has no word for.
#[derive(Debug)]
struct Computed(ElementId, &'static str);

impl FormatRequestData for Computed {
    fn format_request(&self, session: &SessionId) -> RequestData {
        RequestData::new(http::Method::GET, format!("/session/{session}/element/{}/{}", self.0, self.1))
    }
}

impl Browser {
    /// Starts one. What is missing on this machine is installed first, and the test fails if that fails.
    pub async fn start() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(1);
        // Only the first who says so counts.
        let _ = default_provider().install_default();
        let system: &System = shared("chromium").await;
        let profile = system.dir().join(format!("profile-{}", COUNTER.fetch_add(1, Ordering::Relaxed)));
        let mut wanted = DesiredCapabilities::chrome();
        wanted.set_binary(system.env("BROWSER")).expect("a capability");
        wanted.accept_insecure_certs(true).expect("a capability");
        for flag in FLAGS {
            wanted.add_arg(flag).expect("a capability");
        }
        wanted.add_arg(&format!("--user-data-dir={}", profile.display())).expect("a capability");
        let driver = WebDriver::new(system.env("URL"), wanted).await.unwrap_or_else(|error| panic!("{error}"));
        Self { driver }
    }

    /// Ends it. A test that fails leaves that to the end of the process.
    pub async fn quit(self) {
        self.driver.quit().await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Opens an address.
    pub async fn goto(&self, url: &str) {
        self.driver.goto(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// The only element that a selector finds, as soon as it is there and can be seen.
    pub async fn one(&self, selector: &str) -> WebElement {
        wait_until(&format!("{selector} is seen"), SOON, async || {
            let found = self.driver.find(By::Css(selector)).await.map_err(|error| error.to_string())?;
            match found.is_displayed().await {
                Ok(true) => Ok(found),
                Ok(false) => Err("it is there and is not seen".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }

    /// Clicks what a selector finds.
    pub async fn click(&self, selector: &str) {
        self.one(selector).await.click().await.unwrap_or_else(|error| panic!("{selector}: {error}"));
    }

    /// Types into what a selector finds, instead of what stood there.
    pub async fn fill(&self, selector: &str, text: &str) {
        let field = self.one(selector).await;
        field.clear().await.and(field.send_keys(text).await).unwrap_or_else(|error| panic!("{selector}: {error}"));
    }

    /// Presses keys, wherever the focus is.
    pub async fn press(&self, keys: &[Key]) {
        for key in keys {
            self.driver.action_chain().send_keys(key.clone()).perform().await.unwrap_or_else(|error| panic!("{error}"));
        }
    }

    /// Presses a key with Control.
    pub async fn press_with_control(&self, key: Key) {
        let chain = self.driver.action_chain().key_down(Key::Control).send_keys(key).key_up(Key::Control);
        chain.perform().await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Types wherever the focus is.
    pub async fn type_in(&self, text: &str) {
        self.driver.action_chain().send_keys(text).perform().await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Runs a script in the page and gives what it returns.
    pub async fn run(&self, script: &str) -> Value {
        self.driver.execute(script, Vec::new()).await.unwrap_or_else(|error| panic!("{script}: {error}")).json().clone()
    }

    /// The same for a script that calls its last argument with what it has to say.
    pub async fn run_until(&self, script: &str) -> Value {
        self.driver.execute_async(script, Vec::new()).await.unwrap_or_else(|error| panic!("{script}: {error}")).json().clone()
    }

    /// Waits until the text that a reader sees in what a selector finds satisfies a test; gives that text.
    pub async fn reads(&self, selector: &str, right: impl Fn(&str) -> bool) -> String {
        wait_until(&format!("{selector} reads as it should"), SOON, async || {
            let script = format!("return document.querySelector({})?.innerText ?? null", json!(selector));
            match self.driver.execute(script, Vec::new()).await.map_err(|error| error.to_string())?.json() {
                Value::String(text) if right(text) => Ok(text.clone()),
                other => Err(other.to_string()),
            }
        })
        .await
    }

    /// What assistive technology is told of what a selector finds, in sight or not: its computed role and label.
    pub async fn told(&self, selector: &str) -> Told {
        let element = self.driver.find(By::Css(selector)).await.unwrap_or_else(|error| panic!("{selector}: {error}"));
        Told { role: self.computed(&element, "computedrole").await, label: self.computed(&element, "computedlabel").await }
    }

    /// The same of what has the focus.
    pub async fn focus(&self) -> Told {
        let element = self.driver.active_element().await.unwrap_or_else(|error| panic!("{error}"));
        Told { role: self.computed(&element, "computedrole").await, label: self.computed(&element, "computedlabel").await }
    }

    async fn computed(&self, element: &WebElement, what: &'static str) -> String {
        let answer = self.driver.cmd(Computed(element.element_id(), what)).await;
        answer.and_then(thirtyfour::session::http::CmdResponse::value).unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// A picture of what is seen.
    #[allow(dead_code, reason = "for whoever wants to look")]
    pub async fn picture(&self, file: &std::path::Path) {
        self.driver.screenshot(file).await.unwrap_or_else(|error| panic!("{error}"));
    }
}
