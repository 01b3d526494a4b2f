//! A bare client: requests in chains, those of a chain one after another, so many at once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Mutex;

use futures::future::join_all;
use http::Request;
use kube::Client;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::people::IN_FLIGHT;

/// One request.
#[derive(Clone, Debug)]
pub struct Call {
    /// What it must wait for: the one before it in the same chain. That of a person bears her name and begins when she is declared.
    pub chain: String,
    /// POST, PUT, PATCH or DELETE.
    pub method: &'static str,
    /// Path and query.
    pub uri: String,
    /// How the body is written.
    pub content_type: &'static str,
    /// The body.
    pub body: Option<Value>,
}

/// Requests that wait for their turn. Of those whose turn it is the earliest goes first.
pub struct Schedule {
    chains: Mutex<HashMap<String, VecDeque<(usize, Call)>>>,
    ready: Mutex<BinaryHeap<Reverse<(usize, String)>>>,
    waiting: Semaphore,
    left: Mutex<usize>,
    refused: Mutex<Vec<String>>,
}

impl Schedule {
    /// Takes in requests in their order. Chains of the people in `later` wait for [`Self::open`].
    pub fn new(calls: Vec<Call>, later: &[String]) -> Self {
        let left = Mutex::new(calls.len());
        let mut chains: HashMap<String, VecDeque<(usize, Call)>> = HashMap::new();
        for (number, call) in calls.into_iter().enumerate() {
            chains.entry(call.chain.clone()).or_default().push_back((number, call));
        }
        let at_once: Vec<String> = chains.keys().filter(|chain| !later.contains(chain)).cloned().collect();
        let schedule =
            Self { chains: Mutex::new(chains), ready: Mutex::default(), waiting: Semaphore::new(0), left, refused: Mutex::default() };
        at_once.iter().for_each(|chain| schedule.open(chain));
        schedule
    }

    /// Lets a chain go on.
    pub fn open(&self, chain: &str) {
        let head = self.chains.lock().unwrap().get(chain).and_then(|calls| calls.front().map(|(number, _)| *number));
        if let Some(number) = head {
            self.ready.lock().unwrap().push(Reverse((number, chain.to_owned())));
            self.waiting.add_permits(1);
        }
    }

    /// Sends everything.
    pub async fn run(&self, client: &Client) {
        if *self.left.lock().unwrap() > 0 {
            join_all((0..IN_FLIGHT).map(|_| self.work(client))).await;
        }
        let refused = self.refused.lock().unwrap();
        assert!(refused.is_empty(), "a baseline must succeed: {} refused, such as {:?}", refused.len(), refused.first());
    }

    async fn work(&self, client: &Client) {
        while let Ok(turn) = self.waiting.acquire().await {
            turn.forget();
            let Reverse((_, chain)) = self.ready.lock().unwrap().pop().expect("one for each turn");
            let (_, call) = self.chains.lock().unwrap().get_mut(&chain).and_then(VecDeque::pop_front).expect("the head of its chain");
            if let Err(problem) = send(client, &call).await {
                self.refused.lock().unwrap().push(problem);
            }
            self.open(&chain);
            let mut left = self.left.lock().unwrap();
            *left -= 1;
            if *left == 0 {
                self.waiting.close();
            }
        }
    }
}

async fn send(client: &Client, call: &Call) -> Result<(), String> {
    let body = call.body.as_ref().map(|body| serde_json::to_vec(body).expect("JSON")).unwrap_or_default();
    let request = Request::builder().method(call.method).uri(&call.uri).header("content-type", call.content_type).body(body);
    let answer = client.request_text(request.expect("a request")).await;
    answer.map(|_| ()).map_err(|error| format!("{} {}: {error}", call.method, call.uri))
}
