//! What the gateway answers, against a real server and a real worker. No
//! socket: requests go to its router.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy sees no test in what tests share"
)]

mod access;
mod audit;
mod bulk;
mod dash;
mod dead;
mod elsewhere;
mod events;
mod find;
mod health;
mod idempotency;
mod index;
mod limits;
mod metrics;
#[path = "../pool/mod.rs"]
mod pool;
mod pools;
mod prefix;
mod problems;
mod queues;
mod roles;
mod schedules;
mod sensitive;
mod session;
mod settings;
mod sockets;
mod stats;
mod tasks;
mod trace;
mod types;
mod unbegun;
mod watching;
mod workers;

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::response::Response;
use futures::StreamExt as _;
use serde_json::Value;
use taskq::prelude::*;
use taskq::{Mode, WorkerBuilder};
use taskq_e2e::{Fixture, PATIENCE, Running};
use taskq_gateway::index::{Index, Retention};
use taskq_gateway::{Access, Gateway, Limits};
use tower::ServiceExt as _;

/// Doubles a number.
#[task]
async fn double(n: u64) -> u64 {
    n * 2
}

/// Fails as it is told to.
#[task(retries = 1, backoff = "constant(10ms)")]
async fn break_down(why: String, user: Value) -> Result<(), TaskError> {
    let _ = user;
    Err(std::io::Error::other(why).into())
}

/// Counts something in a text.
#[task]
async fn count(text: String, of: u64) -> u64 {
    text.len() as u64 * of
}

/// Takes a while.
#[task]
async fn linger(millis: u64) -> u64 {
    tokio::time::sleep(Duration::from_millis(millis)).await;
    millis
}

/// A gateway on a server of its own.
pub(crate) struct System {
    pub(crate) fixture: Fixture,
    pub(crate) gateway: Gateway,
    /// What is sent with each request.
    pub(crate) headers: HeaderMap,
}

/// An answer, read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The code of a problem.
    pub(crate) fn code(&self) -> String {
        let kind = self.headers[header::CONTENT_TYPE].to_str().unwrap();
        assert_eq!(kind, "application/problem+json", "{self:?}");
        let json = self.json();
        assert_eq!(json["status"], self.status.as_u16());
        assert!(!json["detail"].as_str().unwrap().is_empty());
        json["code"].as_str().unwrap().to_owned()
    }
}

impl System {
    pub(crate) async fn new() -> Self {
        Self::with(Access::default()).await
    }

    pub(crate) async fn with(access: Access) -> Self {
        let fixture = Fixture::new(Mode::JetStream);
        let gateway = gateway(&fixture, access).await;
        Self {
            fixture,
            gateway,
            headers: HeaderMap::new(),
        }
    }

    pub(crate) async fn worker(&self) -> Running {
        self.worker_with(|worker| worker).await
    }

    pub(crate) async fn worker_with(
        &self,
        set: impl FnOnce(WorkerBuilder) -> WorkerBuilder,
    ) -> Running {
        self.fixture.worker_with(set).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response {
        send(&self.gateway, request).await
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let body = match body {
            Some(json) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(json.to_string())
            }
            None => Body::empty(),
        };
        read(self.send(request.body(body).unwrap()).await).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Asks until the answer is as it should be: the index is a moment behind.
    pub(crate) async fn until(&self, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let limit = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path).await;
            if answer.status == StatusCode::OK && is_so(&answer.json()) {
                return answer.json();
            }
            assert!(
                tokio::time::Instant::now() < limit,
                "in vain: {path}: {answer:?}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub(crate) async fn gateway(fixture: &Fixture, access: Access) -> Gateway {
    let index = Index::scratch(Retention::default()).unwrap();
    let limits = Limits {
        body: 64 * 1024,
        ..Limits::default()
    };
    Gateway::new(fixture.client().await, index, access, limits)
}

pub(crate) async fn send(gateway: &Gateway, request: Request<Body>) -> Response {
    gateway.router().oneshot(request).await.unwrap()
}

pub(crate) async fn read(response: Response) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut bytes = Vec::new();
    let mut body = response.into_body().into_data_stream();
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    Answer {
        status,
        headers,
        text: String::from_utf8(bytes).unwrap(),
    }
}

/// The ids of a list.
pub(crate) fn ids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}
