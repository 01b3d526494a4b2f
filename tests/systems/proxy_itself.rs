//! The proxies that make faults real do what they say.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::proxy::{HttpsProxy, TcpProxy, Told};

const SOON: Duration = Duration::from_millis(300);

/// Answers whatever it is sent with the same bytes, and says how many connections there were by a first byte.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 64];
                while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                    stream.write_all(&bytes[..count]).await.expect("written");
                }
            });
        }
    });
    address
}

async fn said(stream: &mut TcpStream, text: &str) -> Option<String> {
    stream.write_all(text.as_bytes()).await.ok()?;
    let mut bytes = [0; 64];
    let count = timeout(SOON, stream.read(&mut bytes)).await.ok()?.ok()?;
    Some(String::from_utf8_lossy(&bytes[..count]).into_owned())
}

#[tokio::test]
async fn bytes_pass_are_swallowed_and_are_cut() {
    let proxy = TcpProxy::start(&echo().await).await;
    let mut stream = TcpStream::connect(proxy.address()).await.expect("connected");
    assert_eq!(said(&mut stream, "one").await.as_deref(), Some("one"));
    proxy.silence();
    assert_eq!(said(&mut stream, "two").await, None);
    proxy.pass();
    assert_eq!(said(&mut stream, "three").await.as_deref(), Some("three"));
    proxy.cut_next_answer();
    assert_eq!(said(&mut stream, "four").await.as_deref(), Some(""), "the end, and no answer");
    let mut stream = TcpStream::connect(proxy.address()).await.expect("connected");
    assert_eq!(said(&mut stream, "five").await.as_deref(), Some("five"), "only once");
}

#[tokio::test]
async fn bytes_that_are_held_come_later() {
    let proxy = TcpProxy::start(&echo().await).await;
    let mut stream = TcpStream::connect(proxy.address()).await.expect("connected");
    assert_eq!(said(&mut stream, "one").await.as_deref(), Some("one"));
    proxy.hold();
    let mut other = TcpStream::connect(proxy.address()).await.expect("the machine itself takes connections");
    assert_eq!((said(&mut stream, "two").await, said(&mut other, "three").await), (None, None));
    proxy.pass();
    assert_eq!((said(&mut stream, "").await.as_deref(), said(&mut other, "").await.as_deref()), (Some("two"), Some("three")));
}

#[tokio::test]
async fn bytes_that_are_held_are_lost_with_a_reset_and_come_before_an_orderly_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let proxy = TcpProxy::start(&listener.local_addr().expect("an address").to_string()).await;
    let mut heard = Vec::new();
    for (words, reset) in [("lost", true), ("late", false)] {
        let mut stream = TcpStream::connect(proxy.address()).await.expect("connected");
        let (mut server, _) = listener.accept().await.expect("connected");
        proxy.hold();
        assert_eq!(said(&mut stream, words).await, None);
        if reset {
            stream.set_zero_linger().expect("an option");
        }
        drop(stream);
        proxy.pass();
        let mut text = String::new();
        server.read_to_string(&mut text).await.expect("text");
        heard.push(text);
    }
    assert_eq!(heard, ["", "late"]);
}

#[tokio::test]
async fn connections_that_are_forgotten_stay_silent_and_new_ones_pass() {
    let proxy = TcpProxy::start(&echo().await).await;
    let mut stream = TcpStream::connect(proxy.address()).await.expect("connected");
    assert_eq!(said(&mut stream, "one").await.as_deref(), Some("one"));
    proxy.forget();
    assert_eq!(said(&mut stream, "two").await, None);
    let mut other = TcpStream::connect(proxy.address()).await.expect("connected");
    assert_eq!(said(&mut other, "three").await.as_deref(), Some("three"));
    assert_eq!(said(&mut stream, "four").await, None, "for good");
}

#[tokio::test]
async fn connections_are_broken_until_bytes_pass_again() {
    let proxy = TcpProxy::start(&echo().await).await;
    let mut stream = TcpStream::connect(proxy.address()).await.expect("connected");
    assert_eq!(said(&mut stream, "one").await.as_deref(), Some("one"));
    proxy.break_off();
    assert_eq!(said(&mut stream, "two").await.unwrap_or_default(), "", "the end");
    let mut other = TcpStream::connect(proxy.address()).await.expect("the machine itself takes connections");
    assert_eq!(said(&mut other, "three").await.unwrap_or_default(), "", "the end");
    proxy.pass();
    let mut stream = TcpStream::connect(proxy.address()).await.expect("connected");
    assert_eq!(said(&mut stream, "four").await.as_deref(), Some("four"));
}

/// A proxy in front of another one, whose answers say what it was asked.
async fn two() -> (HttpsProxy, HttpsProxy, reqwest::Client) {
    let server = HttpsProxy::start("http://127.0.0.1:9", None).await;
    server.instead(|asked| Some(Told::json(200, &serde_json::json!({ "asked": asked.path, "with": asked.json() }))));
    let proxy = HttpsProxy::start(&server.url(), Some(server.ca())).await;
    let tls = usher::connectors::tls::config(Some(proxy.ca())).expect("a CA");
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().expect("a client");
    (server, proxy, client)
}

async fn ask(client: &reqwest::Client, proxy: &HttpsProxy, method: Method) -> Option<(StatusCode, serde_json::Value)> {
    let body = serde_json::json!({ "name": "ada" });
    let request = client.request(method, format!("{}/things/1?all=yes", proxy.url())).json(&body).timeout(SOON * 3).send().await.ok()?;
    Some((request.status(), request.json().await.ok()?))
}

#[tokio::test]
async fn requests_pass_and_are_counted() {
    let (server, proxy, client) = two().await;
    let (status, value) = ask(&client, &proxy, Method::PUT).await.expect("an answer");
    assert_eq!((status.as_u16(), &value), (200, &serde_json::json!({ "asked": "/things/1?all=yes", "with": { "name": "ada" } })));
    proxy.edit(|asked, told| {
        let mut value = told.value();
        value["changes"] = asked.changes().into();
        told.set(&value);
    });
    assert_eq!(ask(&client, &proxy, Method::GET).await.expect("an answer").1["changes"], false);
    proxy.rewrite(|asked| asked.path = asked.path.replace("all=yes", "all=no"));
    assert_eq!(ask(&client, &proxy, Method::PATCH).await.expect("an answer").1["asked"], "/things/1?all=no");
    assert_eq!(
        proxy.counts().into_iter().collect::<Vec<_>>(),
        [("GET /things/1".to_owned(), 1), ("PATCH /things/1".to_owned(), 1), ("PUT /things/1".to_owned(), 1)]
    );
    assert_eq!((proxy.connections(), server.asked().len()), (1, 3));
    proxy.forget();
    assert!(proxy.asked().is_empty());
}

#[tokio::test]
async fn the_next_requests_get_another_answer() {
    let (server, proxy, client) = two().await;
    proxy.answer(2, &Told::patience(7));
    proxy.answer(1, &Told::broken());
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(ask(&client, &proxy, Method::GET).await.expect("an answer").0.as_u16());
    }
    assert_eq!(seen, [429, 429, 503, 200]);
    assert_eq!(server.asked().len(), 1, "the server saw one of them");
}

#[tokio::test]
async fn a_change_is_made_and_its_answer_is_lost() {
    let (server, proxy, client) = two().await;
    proxy.cut_next_change();
    assert!(ask(&client, &proxy, Method::GET).await.is_some(), "this one changes nothing");
    assert!(ask(&client, &proxy, Method::POST).await.is_none(), "no answer");
    assert_eq!(server.counts().get("POST /things/1"), Some(&1), "the server got it, once");
    assert!(ask(&client, &proxy, Method::POST).await.is_some(), "only once");
}

#[tokio::test]
async fn answers_come_late_or_never() {
    let (_server, proxy, client) = two().await;
    proxy.delay(SOON);
    let start = Instant::now();
    assert!(ask(&client, &proxy, Method::GET).await.is_some());
    assert!(start.elapsed() >= SOON);
    proxy.silence();
    assert!(ask(&client, &proxy, Method::GET).await.is_none());
    assert_eq!(proxy.asked().len(), 1, "what is not heard is not counted");
}
