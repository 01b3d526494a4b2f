//! Gitea's pages, as somebody with a browser sees them.

use reqwest::header::{COOKIE, LOCATION, ORIGIN, SET_COOKIE};

use serde_json::Value;

use super::Forge;

/// An open session.
pub struct Session<'a> {
    forge: &'a Forge,
    cookies: Vec<(String, String)>,
}

impl<'a> Session<'a> {
    /// Logs in by the form.
    pub async fn open(forge: &'a Forge, username: &str, password: &str) -> Self {
        let mut session = Self { forge, cookies: Vec::new() };
        let (status, location) = session.post("/user/login", &[("user_name", username), ("password", password)]).await;
        assert!(status == 303 && !location.contains("login"), "{status} {location}");
        session
    }

    /// A browser in which nobody is logged in.
    pub const fn nobodys(forge: &'a Forge) -> Self {
        Self { forge, cookies: Vec::new() }
    }

    /// Asks for JSON, or sends some. Returns the status, and what is answered.
    pub async fn ask(&mut self, path: &str, body: Option<&Value>) -> (u16, Value) {
        let origin = self.forge.system.env("URL");
        let method = if body.is_some() { reqwest::Method::POST } else { reqwest::Method::GET };
        let request = self.forge.client.request(method, format!("{origin}{path}")).header(ORIGIN, origin).header(COOKIE, self.jar());
        let answer = body.iter().fold(request, reqwest::RequestBuilder::json).send().await.expect("an answer");
        self.keep(&answer);
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.expect("a body")).unwrap_or_default())
    }

    fn keep(&mut self, answer: &reqwest::Response) {
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let pair = cookie.to_str().expect("text").split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').expect("a cookie");
            self.cookies.retain(|(before, _)| before != name);
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Logs in by the form, and asks to be remembered. Returns what the browser then keeps for a month, without the session.
    pub async fn remembered(forge: &'a Forge, username: &str, password: &str) -> Self {
        let mut session = Self { forge, cookies: Vec::new() };
        session.post("/user/login", &[("user_name", username), ("password", password), ("remember", "on")]).await;
        session.cookies.retain(|(name, _)| name == "gitea_incredible");
        assert_eq!(session.cookies.len(), 1, "it remembers");
        session
    }

    /// Sends a form. Returns the status, and where it leads.
    pub async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> (u16, String) {
        let origin = self.forge.system.env("URL");
        let request = self.forge.client.post(format!("{origin}{path}")).header(ORIGIN, origin).header(COOKIE, self.jar()).form(form);
        let answer = request.send().await.expect("an answer");
        self.keep(&answer);
        let location = answer.headers().get(LOCATION).and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
        (answer.status().as_u16(), location)
    }

    /// Sends a form, without the session. Returns the answer.
    pub async fn post_for_json(&self, path: &str, form: &[(&str, &str)]) -> serde_json::Value {
        let request = self.forge.client.post(format!("{}{path}", self.forge.system.env("URL"))).form(form);
        request.send().await.expect("an answer").json().await.expect("JSON")
    }

    /// A page.
    pub async fn page(&self, path: &str) -> String {
        let request = self.forge.client.get(format!("{}{path}", self.forge.system.env("URL"))).header(COOKIE, self.jar());
        request.send().await.expect("an answer").text().await.expect("a page")
    }

    /// Whether one sees one's own settings.
    pub async fn works(&self) -> bool {
        self.page("/user/settings").await.contains(r#"name="full_name""#)
    }

    /// Whether the page for logging in asks for nothing.
    pub async fn passes_the_form(&self) -> bool {
        let request = self.forge.client.get(format!("{}/user/login", self.forge.system.env("URL"))).header(COOKIE, self.jar());
        request.send().await.expect("an answer").status() == 303
    }

    fn jar(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }
}
