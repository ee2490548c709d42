//! Who may do what.

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use taskq_gateway::{Access, Role, make_token};

use crate::{System, read};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_looks_an_operator_acts_and_an_admin_throws_away() {
    let people = [
        ("vera", Role::Viewer),
        ("otto", Role::Operator),
        ("ada", Role::Admin),
    ];
    let tokens = people.map(|(name, role)| make_token(name, role));
    let lines: Vec<&str> = tokens.iter().map(|(_, line)| line.as_str()).collect();
    let mut system = System::with(Access::parse(&lines.join("\n")).unwrap()).await;
    let [vera, otto, ada] =
        tokens.map(|(secret, _)| HeaderValue::from_str(&format!("Bearer {secret}")).unwrap());

    assert_eq!(system.get("/v1/tasks").await.code(), "unauthorized");
    let answer = system.get("/metrics").await;
    assert!(
        answer.headers[header::WWW_AUTHENTICATE]
            .to_str()
            .unwrap()
            .contains("Bearer")
    );
    assert_eq!(system.get("/healthz").await.status, StatusCode::OK);

    let call = json!({"task": "double", "id": "one", "kwargs": {"n": 1}});
    system.headers.insert(header::AUTHORIZATION, vera);
    assert_eq!(system.get("/v1/tasks").await.status, StatusCode::OK);
    for (path, body) in [
        ("/v1/tasks", call.clone()),
        ("/v1/tasks:batch", json!({"tasks": [call.clone()]})),
        ("/v1/tasks/x:cancel", json!({})),
        ("/v1/tasks/x%3Acancel", json!({})),
        ("/v1/dead-letters/x:replay", json!({})),
        ("/v1/dead-letters/x:discard", json!({})),
        ("/v1/index:rebuild", json!({})),
    ] {
        let answer = system.post(path, body).await;
        assert_eq!(answer.code(), "forbidden", "{path}");
    }
    system.headers.insert(header::AUTHORIZATION, otto);
    assert_eq!(
        system.post("/v1/tasks", call).await.status,
        StatusCode::CREATED
    );
    for path in [
        "/v1/dead-letters/x:discard",
        "/v1/dead-letters/x%3Adiscard",
        "/v1/dead-letters/x%3adiscard",
        "/v1/index:rebuild",
    ] {
        assert_eq!(
            system.post(path, json!({})).await.code(),
            "forbidden",
            "{path}"
        );
    }
    // Whose doing it was is recorded with what was done.
    system.post("/v1/tasks/one:cancel", json!({})).await;
    let task = system.get("/v1/tasks/one").await.json();
    assert_eq!(task["cancelled_by"], "otto via gateway");
    system.headers.insert(header::AUTHORIZATION, ada);
    let answer = system.post("/v1/dead-letters/x:discard", json!({})).await;
    assert_eq!(answer.code(), "not_found");
    let rebuilt = system.ask(Method::POST, "/v1/index:rebuild", None).await;
    assert_eq!(rebuilt.status, StatusCode::ACCEPTED);
    let basic = STANDARD.encode("ada:wrong");
    let basic = HeaderValue::from_str(&format!("Basic {basic}")).unwrap();
    system.headers.insert(header::AUTHORIZATION, basic);
    assert_eq!(system.get("/v1/tasks").await.code(), "unauthorized");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_login_no_page_of_another_host_can_act_or_look() {
    let system = System::new().await;
    let post = |headers: &[(&str, &str)]| {
        let mut request = Request::post("/v1/tasks/x:cancel");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    };
    for (headers, code) in [
        (&[("host", "127.0.0.1:8080")][..], "not_found"),
        (
            &[
                ("host", "localhost:8080"),
                ("origin", "http://localhost:8080"),
            ],
            "not_found",
        ),
        (
            &[
                ("host", "localhost:8080"),
                ("origin", "http://evil.example"),
            ],
            "forbidden",
        ),
        (
            &[
                ("host", "localhost:8080"),
                ("origin", "http://localhost:9999"),
            ],
            "forbidden",
        ),
        (
            &[("host", "localhost:8080"), ("origin", "null")],
            "forbidden",
        ),
        (
            &[("host", "localhost:8080"), ("sec-fetch-site", "cross-site")],
            "forbidden",
        ),
        // A name of somebody else's that leads here.
        (
            &[
                ("host", "evil.example:8080"),
                ("origin", "http://evil.example:8080"),
            ],
            "forbidden",
        ),
    ] {
        let answer = read(system.send(post(headers)).await).await;
        assert_eq!(answer.code(), code, "{headers:?}");
    }
    let look = Request::get("/v1/tasks")
        .header("host", "evil.example")
        .body(Body::empty());
    assert_eq!(
        read(system.send(look.unwrap()).await).await.code(),
        "forbidden"
    );
    let answer = system.get("/docs").await;
    for (name, part) in [
        ("content-security-policy", "default-src 'none'"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("cache-control", "no-store"),
    ] {
        assert!(
            answer.headers[name].to_str().unwrap().contains(part),
            "{name}"
        );
    }
}
