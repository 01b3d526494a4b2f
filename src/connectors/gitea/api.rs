//! Gitea's API: how it is asked, and what it answers.

use reqwest::header::{AUTHORIZATION, HeaderValue, LOCATION};
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::error::ConnectorError;
use super::super::http::{Answer, Http};
use super::super::paging::{Page, all};

/// More than this no Gitea gives on a page, unless its administrator allows more.
const PAGE: u64 = 50;

/// As whom usher asks.
#[derive(Clone, Copy, Debug)]
pub enum Voice<'a> {
    /// As the administrator that it is.
    Own,
    /// In somebody's place, which an administrator may.
    Of(&'a str),
    /// By the token as a password, whosever: only who comes so is told of access tokens, and may revoke them.
    Basic,
}

/// A Gitea and usher's token for it.
#[derive(Debug)]
pub struct Api {
    http: Http,
    token: SecretString,
}

/// An account.
#[derive(Clone, Debug, Deserialize)]
pub struct User {
    /// Never changes.
    pub id: i64,
    /// May change.
    pub login: String,
    /// What usher keeps its mark in, and a login source its own name of the person.
    #[serde(default)]
    pub login_name: String,
    /// 0: Gitea itself.
    #[serde(default)]
    pub source_id: i64,
    #[serde(default)]
    pub full_name: String,
    #[serde(default)]
    pub email: String,
    #[serde(default)]
    pub is_admin: bool,
    #[serde(default)]
    pub active: bool,
    #[serde(default)]
    pub prohibit_login: bool,
}

/// Anything that has an id and a name, and nothing else that matters.
#[derive(Clone, Debug, Deserialize)]
pub struct Named {
    pub id: i64,
    #[serde(default)]
    pub name: String,
}

/// An access token, without itself.
#[derive(Clone, Debug, Deserialize)]
pub struct Token {
    pub id: i64,
    /// Its end, by which its owner recognizes it.
    #[serde(default, rename = "token_last_eight")]
    pub last_eight: String,
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// A team of an organization.
#[derive(Clone, Debug, Deserialize)]
pub struct Team {
    pub id: i64,
    pub name: String,
    /// `owner` for those who own the organization; the rest is told elsewhere.
    #[serde(default)]
    pub permission: String,
    /// Told where teams of several are.
    pub organization: Option<Named>,
}

#[derive(Debug, Deserialize)]
struct Data<T> {
    #[serde(default = "Vec::new")]
    data: Vec<T>,
}

impl Api {
    pub fn new(http: Http, token: SecretString) -> Self {
        Self { http, token }
    }

    /// The end of usher's own token, which is all that is told of a token.
    pub fn last_eight(&self) -> &str {
        let token = self.token.expose_secret();
        token.len().checked_sub(8).and_then(|at| token.get(at..)).unwrap_or_default()
    }

    pub fn request(&self, method: Method, voice: Voice<'_>, path: &[&str]) -> RequestBuilder {
        let request = self.http.request(method, &[&["api", "v1"], path].concat());
        let token = self.token.expose_secret();
        let own = || {
            let mut header = HeaderValue::from_str(&format!("token {token}")).unwrap_or(HeaderValue::from_static("token"));
            header.set_sensitive(true);
            header
        };
        match voice {
            Voice::Own => request.header(AUTHORIZATION, own()),
            Voice::Of(login) => request.header(AUTHORIZATION, own()).header("Sudo", login),
            Voice::Basic => request.basic_auth("usher", Some(token)),
        }
    }

    /// What anybody sees who has a browser and is not logged in.
    pub fn page_of(&self, path: &[&str]) -> RequestBuilder {
        self.http.request(Method::GET, path)
    }

    pub async fn send(&self, operation: &str, request: RequestBuilder) -> Result<Answer, ConnectorError> {
        self.http.send(operation, request).await
    }

    /// Asks without judging the answer.
    pub async fn exchange(&self, operation: &str, request: RequestBuilder) -> Result<Answer, ConnectorError> {
        self.http.exchange(operation, request).await
    }

    /// What is at a path; nothing if it is not there, or if it has another name by now: Gitea then sends to that one, which may be anybody's.
    pub async fn read(&self, operation: &str, request: RequestBuilder) -> Result<Option<Answer>, ConnectorError> {
        let answer = self.http.exchange(operation, request).await?;
        if answer.status == StatusCode::NOT_FOUND || renamed(&answer) {
            return Ok(None);
        }
        answer.about_the_system()?.success().map(Some)
    }

    /// Deletes what may be gone already.
    pub async fn delete(&self, operation: &str, voice: Voice<'_>, path: &[&str]) -> Result<(), ConnectorError> {
        self.read(operation, self.request(Method::DELETE, voice, path)).await.map(drop)
    }

    /// One page of a list, and how long the list is; nothing if there is no such list.
    pub async fn page<T: DeserializeOwned>(
        &self,
        operation: &str,
        voice: Voice<'_>,
        path: &[&str],
        query: &[(&str, &str)],
        number: u64,
    ) -> Result<Option<(Vec<T>, Option<u64>)>, ConnectorError> {
        let (limit, number) = (PAGE.to_string(), number.to_string());
        let request = self.request(Method::GET, voice, path).query(query).query(&[("limit", &limit), ("page", &number)]);
        let Some(answer) = self.read(operation, request).await? else { return Ok(None) };
        let total = answer.headers.get("x-total-count").and_then(|it| it.to_str().ok()?.parse().ok());
        let items = if path.last() == Some(&"search") { answer.json::<Data<T>>()?.data } else { listed(&answer)? };
        Ok(Some((items, total)))
    }

    /// All of a list; nothing if there is no such list. A long one is read from its end, and its first page once more: what is deleted meanwhile moves others to
    /// earlier pages, where they are still seen.
    pub async fn all<T: DeserializeOwned>(
        &self,
        operation: &str,
        voice: Voice<'_>,
        path: &[&str],
        query: &[(&str, &str)],
        id: impl Fn(&T) -> i64,
    ) -> Result<Vec<T>, ConnectorError> {
        all(
            operation,
            Place::Start,
            |item| id(item).to_string(),
            |place: Place| async move {
                let Some((items, total)) = self.page(operation, voice, path, query, place.number()).await? else {
                    return Ok(Page { items: Vec::new(), next: None, total: None });
                };
                Ok(Page { next: place.after(items.len(), total), items, total })
            },
        )
        .await
    }
}

/// Where one is in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// On the first page, where the length of the list and of its pages is told.
    Start,
    /// On the way back from its end.
    Back(u64),
    /// On the way forth, where no length is told.
    Forth(u64),
}

impl Place {
    const fn number(self) -> u64 {
        match self {
            Self::Start => 1,
            Self::Back(number) | Self::Forth(number) => number,
        }
    }

    /// Where to go on. Pages may be shorter than asked for.
    fn after(self, items: usize, total: Option<u64>) -> Option<Self> {
        let items = u64::try_from(items).unwrap_or(u64::MAX);
        match (self, total) {
            (Self::Start, Some(total)) => (items > 0 && items < total).then(|| Self::Back(total.div_ceil(items))),
            (Self::Back(number), _) => (number > 1).then(|| Self::Back(number - 1)),
            (Self::Start | Self::Forth(_), _) => (items > 0).then(|| Self::Forth(self.number() + 1)),
        }
    }
}

/// Some lists are null when they are empty.
fn listed<T: DeserializeOwned>(answer: &Answer) -> Result<Vec<T>, ConnectorError> {
    Ok(answer.json::<Option<Vec<T>>>()?.unwrap_or_default())
}

/// Whether the answer says that a name was changed: it leads to the same place below another name. Any other redirect is about the URL.
fn renamed(answer: &Answer) -> bool {
    let to = answer.headers.get(LOCATION).and_then(|it| it.to_str().ok()).unwrap_or_default();
    answer.status == StatusCode::TEMPORARY_REDIRECT
        && ["/api/v1/users/", "/api/v1/orgs/", "/api/v1/admin/users/"].iter().any(|it| to.contains(it))
}

pub fn rejected(operation: &str, message: impl Into<String>) -> ConnectorError {
    ConnectorError::Rejected { operation: operation.to_owned(), message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::Place;

    #[test]
    fn long_lists_are_read_from_their_end() {
        let walk = |total: Option<u64>, size: usize, count: usize| {
            let mut pages = Vec::new();
            let mut place = Some(Place::Start);
            while let Some(at) = place {
                pages.push(at.number());
                let seen = size.saturating_mul(usize::try_from(at.number() - 1).unwrap_or(usize::MAX));
                place = at.after(count.saturating_sub(seen).min(size), total);
            }
            pages
        };
        assert_eq!(walk(Some(0), 50, 0), [1]);
        assert_eq!(walk(Some(50), 50, 50), [1]);
        assert_eq!(walk(Some(51), 50, 51), [1, 2, 1]);
        assert_eq!(walk(Some(120), 30, 120), [1, 4, 3, 2, 1], "a server may give shorter pages");
        assert_eq!(walk(None, 50, 0), [1]);
        assert_eq!(walk(None, 50, 120), [1, 2, 3, 4]);
    }
}
