//! One HTTP client for every system that speaks it: time limits, TLS, patience when asked for it, and no secret in an error.

use std::sync::Arc;
use std::time::Duration;

use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};
use serde::de::DeserializeOwned;

use super::bounded::{MOST_BYTES, too_large};
use super::error::ConnectorError;
use super::throttle::Throttle;
use super::tls;

/// How long a connection may take, and a request as a whole.
const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(20);
/// Of what a system says no more than this is told.
const MOST_WORDS: usize = 300;
/// However long a system asks to wait, it is asked again after this.
const MOST_PATIENCE: Duration = Duration::from_mins(15);

/// A client of one system.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    base: Url,
    throttle: Arc<Throttle>,
}

/// What a system answered, read to its end.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Vec<u8>,
    operation: String,
}

impl Http {
    /// A client of what is at `url`. It follows no redirect, as that would send credentials elsewhere.
    pub fn new(url: &str, ca: Option<&str>, throttle: Arc<Throttle>) -> Result<Self, ConnectorError> {
        let invalid = |message: String| ConnectorError::InvalidSettings { field: "url", message };
        let base = Url::parse(&format!("{}/", url.trim_end_matches('/'))).map_err(|error| invalid(error.to_string()))?;
        if base.scheme() != "https" {
            return Err(invalid("write an https URL: credentials are never sent without TLS".to_owned()));
        }
        if !base.username().is_empty() || base.password().is_some() || base.query().is_some() || base.fragment().is_some() {
            let message =
                "write it without user, password, query and fragment: people see it; who usher is there stands in credentialsSecret";
            return Err(invalid(message.to_owned()));
        }
        let client = Client::builder()
            .tls_backend_preconfigured(tls::config(ca)?)
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .redirect(Policy::none())
            .user_agent(concat!("usher/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| invalid(error.to_string()))?;
        Ok(Self { client, base, throttle })
    }

    /// A request for what is below the base: each part of the path is escaped as a whole, so that no name can lead elsewhere.
    pub fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        self.client.request(method, url)
    }

    /// Sends a request. What speaks of the system as a whole is an error: that it is out of reach, asks for patience or does not let usher in; anything else is
    /// the caller's to read. `operation` says for people what is asked for.
    pub async fn send(&self, operation: &str, request: RequestBuilder) -> Result<Answer, ConnectorError> {
        self.throttle.send(async { Self::answer(operation, request).await?.about_the_system() }).await
    }

    /// Sends a request where a status that speaks of the system may be meant otherwise: only that there is no answer is an error. The caller says
    /// [`Answer::about_the_system`] to all that it does not know better.
    pub async fn exchange(&self, operation: &str, request: RequestBuilder) -> Result<Answer, ConnectorError> {
        self.throttle.send(Self::answer(operation, request)).await
    }

    async fn answer(operation: &str, request: RequestBuilder) -> Result<Answer, ConnectorError> {
        let unreachable = |error: reqwest::Error| ConnectorError::unreachable(operation, error.without_url());
        let mut response = request.send().await.map_err(unreachable)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            body.extend_from_slice(&chunk);
            if u64::try_from(body.len()).unwrap_or(u64::MAX) > MOST_BYTES {
                return Err(too_large(operation));
            }
        }
        Ok(Answer { status, headers, body, operation: operation.to_owned() })
    }
}

impl Answer {
    /// Passes on what is about the request itself; anything else is an error.
    pub fn about_the_system(self) -> Result<Self, ConnectorError> {
        let operation = || self.operation.clone();
        match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let words = self.words();
                let status = if words.is_empty() { self.status.to_string() } else { format!("{}: {words}", self.status) };
                Err(ConnectorError::Unauthorized { operation: operation(), status })
            }
            StatusCode::TOO_MANY_REQUESTS => Err(ConnectorError::RateLimited { operation: operation(), after: self.retry_after() }),
            StatusCode::SERVICE_UNAVAILABLE if self.retry_after().is_some() => {
                Err(ConnectorError::RateLimited { operation: operation(), after: self.retry_after() })
            }
            status if status.is_server_error() => {
                let words = self.words();
                let text = if words.is_empty() { status.to_string() } else { format!("{status}: {words}") };
                Err(ConnectorError::unreachable(operation(), text))
            }
            status if status.is_redirection() => Err(ConnectorError::InvalidSettings {
                field: "url",
                message: format!("the system sends usher elsewhere ({status}); write the URL that it sends to"),
            }),
            _ => Ok(self),
        }
    }

    /// How long the system asks to wait (RFC 9110, 10.2.3: seconds, or a date), within bounds.
    fn retry_after(&self) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let seconds = text.parse::<u64>().ok().map(Duration::from_secs);
        let until = || {
            let at = rfc2822::parse(text).ok()?.timestamp();
            Duration::try_from(at.duration_since(self.date()?).max(SignedDuration::ZERO)).ok()
        };
        Some(seconds.or_else(until)?.min(MOST_PATIENCE))
    }

    /// The system's own present: its clock may be another one.
    fn date(&self) -> Option<Timestamp> {
        let text = self.headers.get(reqwest::header::DATE)?.to_str().ok()?;
        rfc2822::parse(text).ok().map(|at| at.timestamp())
    }

    /// The answer to a request that succeeded; anything else is a refusal in the system's own words.
    pub fn success(self) -> Result<Self, ConnectorError> {
        if self.status.is_success() { Ok(self) } else { Err(self.refusal()) }
    }

    /// The refusal of a request in the system's own words.
    pub fn refusal(&self) -> ConnectorError {
        let words = self.words();
        let message = if words.is_empty() { self.status.to_string() } else { words };
        ConnectorError::Rejected { operation: self.operation.clone(), message }
    }

    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ConnectorError> {
        let garbled = |error: serde_json::Error| ConnectorError::Garbled {
            operation: self.operation.clone(),
            // The position is enough; the text may be a person's.
            message: format!("the answer is not as documented, at line {} column {}", error.line(), error.column()),
        };
        serde_json::from_slice(&self.body).map_err(garbled)
    }

    /// What the system says is wrong, on one line and bounded: the usual fields of JSON errors, else nothing. Not to be told where the request held a secret.
    pub fn words(&self) -> String {
        let value: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let fields = ["message", "errorMessage", "error_description", "detail", "error"];
        let text = fields.iter().find_map(|field| value.get(field)?.as_str()).unwrap_or_default();
        let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars().take(MOST_WORDS).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_no_secret_in_it() {
        let of =
            |url: &str| Http::new(url, None, Arc::new(Throttle::new(1))).map(|http| http.base.to_string()).map_err(|it| it.to_string());
        assert_eq!(of("https://git.example.com/below/"), Ok("https://git.example.com/below/".to_owned()));
        assert_eq!(of("https://git.example.com:3000/a@b"), Ok("https://git.example.com:3000/a@b/".to_owned()));
        for url in [
            "https://usher:hunter2@git.example.com",
            "https://hunter2@git.example.com",
            "https://git.example.com?token=hunter2",
            "https://git.example.com/#hunter2",
        ] {
            let refused = of(url).expect_err(url);
            assert!(refused.contains("credentialsSecret") && !refused.contains("hunter2"), "{refused}");
        }
        assert!(of("http://git.example.com").expect_err("no TLS").contains("https"));
    }
}
