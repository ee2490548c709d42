//! Logging in with a browser, and what a forged request cannot do.

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use serde_json::json;
use taskq_gateway::{Access, Role, hash_password};

use crate::{Answer, System, gateway, read, send};

const HOST: (&str, &str) = ("host", "taskq.example");
const OWN: (&str, &str) = ("origin", "https://taskq.example");

fn people() -> String {
    [("vera", Role::Viewer), ("otto", Role::Operator)]
        .map(|(name, role)| hash_password(name, role, "correct horse").unwrap())
        .join("\n")
}

async fn system() -> System {
    System::with(Access::default().users_of(&people()).unwrap()).await
}

async fn ask(
    system: &System,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    read(system.send(request).await).await
}

/// Logs in; the cookie as it is sent back, and the token against forgery.
async fn log_in(system: &System, name: &str) -> (String, String) {
    let login = json!({"user": name, "password": "correct horse"}).to_string();
    let headers = [HOST, OWN, ("content-type", "application/json")];
    let answer = ask(system, "POST", "/v1/session", &headers, &login).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
    for part in ["HttpOnly", "SameSite=Lax", "Secure", "Path=/", "Max-Age="] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let csrf = answer.json()["csrf"].as_str().unwrap().to_owned();
    (cookie, csrf)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_is_good_in_every_replica_until_the_logout() {
    // Replicas have the same file.
    let people = people();
    let access = || Access::default().users_of(&people).unwrap();
    let system = System::with(access()).await;
    let other = gateway(&system.fixture, access()).await;
    let (cookie, csrf) = log_in(&system, "otto").await;
    let on_other = async || {
        let look = Request::get("/v1/session").header("cookie", &cookie);
        read(send(&other, look.body(Body::empty()).unwrap()).await).await
    };
    let session = on_other().await.json();
    assert_eq!(session["user"], "otto");
    assert_eq!(session["role"], "operator");
    assert_eq!(session["known_by"], "session");
    assert_eq!(session["csrf"], csrf.as_str());
    let actions = session["actions"].as_array().unwrap();
    assert!(actions.contains(&json!("task.send")), "{session}");
    assert!(!actions.contains(&json!("queue.purge")), "{session}");

    let headers = [HOST, OWN, ("cookie", &cookie), ("x-csrf-token", &csrf)];
    let out = ask(&system, "DELETE", "/v1/session", &headers, "").await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    let cleared = out.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(cleared.contains("Max-Age=0"), "{cleared}");
    let again = ask(&system, "GET", "/v1/session", &headers, "").await;
    assert_eq!(again.code(), "unauthorized");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_known_is_told_nothing_but_that() {
    let system = system().await;
    for (name, password) in [
        ("otto", "wrong horse"),
        ("nobody", "correct horse"),
        ("", ""),
    ] {
        let login = json!({"user": name, "password": password}).to_string();
        let headers = [HOST, ("content-type", "application/json")];
        let answer = ask(&system, "POST", "/v1/session", &headers, &login).await;
        assert_eq!(answer.code(), "wrong_login");
        assert!(!answer.headers.contains_key(header::SET_COOKIE));
        assert!(!answer.text.contains(password) || password.is_empty());
    }
    let open = System::new().await;
    let login = json!({"user": "x", "password": "y"});
    assert_eq!(open.post("/v1/session", login).await.code(), "no_login");
    let session = open.get("/v1/session").await.json();
    assert_eq!(session["user"], "anonymous");
    assert_eq!(session["role"], "admin");
    assert_eq!(session["known_by"], "nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_cannot_be_forged() {
    let system = system().await;
    let (cookie, csrf) = log_in(&system, "otto").await;
    let (_, viewers) = log_in(&system, "vera").await;
    let cookie = ("cookie", cookie.as_str());
    let token = ("x-csrf-token", csrf.as_str());
    let form = ("content-type", "application/x-www-form-urlencoded");
    let evil = ("origin", "https://evil.example");
    let same = ("sec-fetch-site", "same-origin");
    let field = format!("reason=x&csrf={csrf}");
    let pause = "/v1/queues/default:pause";
    for (headers, body, what) in [
        // What any page can make a browser send.
        (&[HOST, cookie, form, evil][..], "", "a foreign form"),
        (&[HOST, cookie, form, evil], &field, "with a stolen token"),
        (
            &[HOST, cookie, form, ("origin", "null")],
            &field,
            "of no origin",
        ),
        (
            &[HOST, cookie, token, ("sec-fetch-site", "cross-site")],
            "",
            "across sites",
        ),
        (
            &[HOST, cookie, token, ("sec-fetch-site", "same-site")],
            "",
            "of a neighbour",
        ),
        // What lacks one of the two.
        (&[HOST, cookie, OWN], "", "no token"),
        (&[HOST, cookie, same, form], "reason=x", "no field"),
        (&[HOST, cookie, token], "", "no word of the browser"),
        (
            &[HOST, cookie, OWN, ("x-csrf-token", viewers.as_str())],
            "",
            "another session's token",
        ),
        (
            &[HOST, cookie, OWN, ("x-csrf-token", "")],
            "",
            "an empty one",
        ),
    ] {
        let answer = ask(&system, "POST", pause, headers, body).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}: {answer:?}");
        for button in ["/logout", "/do"] {
            let answer = ask(&system, "POST", button, headers, body).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}: {answer:?}");
        }
    }
    let settings = ask(
        &system,
        "GET",
        "/v1/queues/default/settings",
        &[HOST, cookie],
        "",
    )
    .await;
    assert_eq!(settings.json(), json!({}), "nothing was done");
    for headers in [
        &[HOST, cookie, token, OWN][..],
        &[HOST, cookie, token, same],
    ] {
        let answer = ask(&system, "POST", pause, headers, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    }
    let out = ask(
        &system,
        "POST",
        "/logout",
        &[HOST, cookie, OWN, form],
        &field,
    )
    .await;
    assert_eq!(out.status, StatusCode::SEE_OTHER);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_leads_to_the_login_and_back() {
    let system = system().await;
    let html = ("accept", "text/html,*/*;q=0.8");
    let sent_away = ask(&system, "GET", "/v1/queues/default?x=1", &[HOST, html], "").await;
    assert_eq!(sent_away.status, StatusCode::SEE_OTHER);
    assert_eq!(
        sent_away.headers[header::LOCATION],
        "../../login?next=v1%2Fqueues%2Fdefault%3Fx%3D1"
    );
    let page = ask(&system, "GET", "/login?next=docs%22%3E", &[HOST], "").await;
    assert!(
        page.text.contains("value=\"docs&quot;&gt;\""),
        "{}",
        page.text
    );
    assert!(!page.text.contains("<script") && !page.text.contains("style="));
    // It looks like the others, for who is not let in yet too.
    let style = page.text.split("rel=\"stylesheet\" href=\"./").nth(1);
    let style = style.unwrap().split('"').next().unwrap();
    let style = ask(&system, "GET", &format!("/{style}"), &[HOST], "").await;
    assert_eq!(style.status, StatusCode::OK);
    assert!(style.text.contains(".login"), "{}", style.text);
    let form = ("content-type", "application/x-www-form-urlencoded");
    let wrong = "user=%3Cb%3E&password=x&next=docs";
    let wrong = ask(&system, "POST", "/login", &[HOST, OWN, form], wrong).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.text.contains("value=\"&lt;b&gt;\""), "{}", wrong.text);
    let right = "user=vera&password=correct+horse&next=docs";
    let foreign = [HOST, ("origin", "https://evil.example"), form];
    let forged = ask(&system, "POST", "/login", &foreign, right).await;
    assert_eq!(forged.code(), "forbidden");
    let right = ask(&system, "POST", "/login", &[HOST, OWN, form], right).await;
    assert_eq!(right.status, StatusCode::SEE_OTHER);
    assert_eq!(right.headers[header::LOCATION], "./docs");
    let cookie = right.headers[header::SET_COOKIE].to_str().unwrap();
    let cookie = ("cookie", cookie.split(';').next().unwrap());
    let docs = ask(&system, "GET", "/docs", &[HOST, cookie, html], "").await;
    assert_eq!(docs.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_is_enough_for_just_what_the_table_says_at_every_address() {
    let people = Role::ALL.map(|role| {
        let (secret, line) = taskq_gateway::make_token(role.as_str(), role);
        (role, secret, line)
    });
    let lines: Vec<_> = people.iter().map(|(_, _, line)| line.as_str()).collect();
    let mut system = System::with(Access::parse(&lines.join("\n")).unwrap()).await;
    let api: serde_json::Value = serde_json::from_str(taskq_gateway::openapi()).unwrap();
    let mut acting = 0;
    for (path, methods) in api["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let free = ["/healthz", "/readyz"].contains(&path.as_str())
                || (method == Method::POST && path == "/v1/session");
            let needs = match operation["x-taskq-role"].as_str() {
                Some(role) => role.parse::<Role>().unwrap(),
                None => {
                    assert!(free, "{method} {path} is in no action of access/action.rs");
                    continue;
                }
            };
            acting += u32::from(needs > Role::Viewer);
            // A place where nothing is, and a body that is none: whoever may is
            // told so, and nothing is changed.
            let address = path.replace('{', "none-").replace('}', "");
            if address.contains("/events") || address.ends_with("rebuild") {
                // The first does not end; the second works.
                continue;
            }
            system.headers.clear();
            let refused = system.ask(method.clone(), &address, None).await;
            assert_eq!(refused.code(), "unauthorized", "{method} {path}");
            for (role, secret, _) in &people {
                let bearer = HeaderValue::from_str(&format!("Bearer {secret}")).unwrap();
                system.headers.insert(header::AUTHORIZATION, bearer);
                let answer = system.ask(method.clone(), &address, None).await;
                let refused = answer.status == StatusCode::FORBIDDEN;
                assert_eq!(
                    refused,
                    *role < needs,
                    "{role}: {method} {path}: {answer:?}"
                );
                assert!(answer.status != StatusCode::UNAUTHORIZED, "{method} {path}");
            }
        }
    }
    assert!(acting >= 15, "{acting}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jwt_that_somebody_else_has_signed_says_who_asks() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let secret = "0123456789abcdef0123456789abcdef";
    let rules = taskq_gateway::JwtRules {
        audience: Some("taskq".to_owned()),
        issuer: None,
        role_claim: "role".to_owned(),
        name_claim: "sub".to_owned(),
    };
    let mut system = System::with(Access::default().jwt_of(secret, rules).unwrap()).await;
    let token = |alg: &str, role: &str| {
        let in_an_hour = taskq::Timestamp::now().as_millis() / 1000 + 3600;
        let header = json!({"alg": alg, "typ": "JWT"}).to_string();
        let claims = json!({"sub": "ada", "aud": "taskq", "exp": in_an_hour, "role": role});
        let [header, claims] =
            [header, claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
        let mark = ring::hmac::sign(&key, format!("{header}.{claims}").as_bytes());
        format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(mark))
    };
    let mut ask = async |token: String| {
        let bearer = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        system.headers.insert(header::AUTHORIZATION, bearer);
        system.get("/v1/session").await
    };
    let known = ask(token("HS256", "operator")).await.json();
    assert_eq!(known["user"], "ada");
    assert_eq!(known["role"], "operator");
    assert_eq!(known["known_by"], "jwt");
    assert_eq!(ask(token("HS256", "cook")).await.code(), "unauthorized");
    assert_eq!(ask(token("none", "admin")).await.code(), "unauthorized");
}
