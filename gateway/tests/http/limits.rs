//! How much one caller may ask for, and whose word counts on who asks.

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode, header};
use serde_json::json;
use taskq::admin::AuditFilter;
use taskq_gateway::index::{Index, Retention};
use taskq_gateway::{Access, Gateway, Limits, Role, make_token};

use crate::{Answer, System, read, send};

async fn with(access: Access, limits: Limits) -> System {
    let mut system = System::new().await;
    let index = Index::scratch(Retention::default()).unwrap();
    system.gateway = Gateway::new(system.fixture.client().await, index, access, limits);
    system
}

/// Asks as if from an address.
async fn from(system: &System, address: &str, mut request: Request<Body>) -> Answer {
    let peer = taskq_gateway::peer(format!("{address}:4711").parse().unwrap());
    request.extensions_mut().insert(ConnectInfo(peer));
    read(send(&system.gateway, request).await).await
}

fn login(password: &str) -> Request<Body> {
    let body = json!({"user": "ada", "password": password}).to_string();
    Request::post("/v1/session")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_too_much_waits_and_nobody_else_does() {
    let tokens = ["ada", "bob"].map(|name| make_token(name, Role::Viewer));
    let lines: Vec<_> = tokens.iter().map(|(_, line)| line.as_str()).collect();
    let limits = Limits {
        rate: 2,
        streams: 1,
        ..Limits::default()
    };
    let system = with(Access::parse(&lines.join("\n")).unwrap(), limits).await;
    let ask = async |secret: &str, path: &str| {
        let request = Request::get(path).header("authorization", format!("Bearer {secret}"));
        send(&system.gateway, request.body(Body::empty()).unwrap()).await
    };
    let [(ada, _), (bob, _)] = &tokens;
    // A stream stays open and counts as one.
    let stream = ask(ada, "/v1/events").await;
    assert_eq!(stream.status(), StatusCode::OK);
    let second = read(ask(ada, "/v1/events").await).await;
    assert_eq!(second.code(), "rate_limited");
    assert_eq!(ask(bob, "/v1/events").await.status(), StatusCode::OK);
    drop(stream);
    // The bucket holds four: two are gone.
    let mut refused = None;
    for _ in 0..100 {
        let answer = read(ask(ada, "/v1/session").await).await;
        if answer.status != StatusCode::OK {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("an end");
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.code(), "rate_limited");
    assert_eq!(refused.headers[header::RETRY_AFTER], "1");
    assert_eq!(ask(bob, "/v1/session").await.status(), StatusCode::OK);
    while ask(ada, "/v1/events").await.status() != StatusCode::OK {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_passwords_is_slow_and_an_address_is_not_made_up() {
    let line = taskq_gateway::hash_password("ada", Role::Viewer, "correct horse").unwrap();
    let limits = Limits {
        logins: 3,
        proxies: "10.0.0.0/8".parse().unwrap(),
        ..Limits::default()
    };
    let system = with(Access::default().users_of(&line).unwrap(), limits).await;
    for _ in 0..3 {
        let answer = from(&system, "203.0.113.9", login("wrong")).await;
        assert_eq!(answer.code(), "wrong_login");
    }
    let limited = from(&system, "203.0.113.9", login("correct horse")).await;
    assert_eq!(limited.code(), "rate_limited");
    // Saying that it comes from elsewhere does not help, for this is no proxy.
    let mut forged = login("correct horse");
    let elsewhere = "198.51.100.1".parse().unwrap();
    forged.headers_mut().insert("x-forwarded-for", elsewhere);
    let limited = from(&system, "203.0.113.9", forged).await;
    assert_eq!(limited.code(), "rate_limited");
    let mut proxied = login("correct horse");
    let hops = "203.0.113.9, 198.51.100.1".parse().unwrap();
    proxied.headers_mut().insert("x-forwarded-for", hops);
    let proto = "https".parse().unwrap();
    proxied.headers_mut().insert("x-forwarded-proto", proto);
    let answer = from(&system, "10.1.2.3", proxied).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.contains("Secure"), "{cookie}");
    assert!(answer.headers.contains_key("strict-transport-security"));
    let (client, all) = (system.fixture.client().await, AuditFilter::default());
    let audit = taskq::admin::audit(&client, &all).await.unwrap();
    let entry = &audit.entries[0];
    assert_eq!(entry.action, "logged_in");
    assert_eq!(entry.actor.address.as_deref(), Some("198.51.100.1"));
    assert!(!answer.text.contains("correct horse"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_guesses_tokens_is_slowed_down() {
    let (_, line) = make_token("ada", Role::Viewer);
    let limits = Limits {
        rate: 20,
        ..Limits::default()
    };
    let system = with(Access::parse(&line).unwrap(), limits).await;
    let guess = || {
        let guess = Request::get("/v1/session").header("authorization", "Bearer tq_guess");
        guess.body(Body::empty()).unwrap()
    };
    let mut codes = Vec::new();
    for _ in 0..20 {
        codes.push(from(&system, "203.0.113.9", guess()).await.code());
    }
    assert_eq!(codes[0], "unauthorized");
    assert!(codes.contains(&"rate_limited".to_owned()), "{codes:?}");
}
