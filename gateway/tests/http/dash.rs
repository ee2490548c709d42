//! The dashboard, as a browser without scripts has it.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use taskq::prelude::*;
use taskq::{TaskId, admin};
use taskq_gateway::{Access, Role, make_token};

use crate::{Answer, System, double, linger, read};

/// Tells nobody.
#[task(sensitive, retries = 0)]
async fn whisper(text: String, fail: bool) -> Result<String, TaskError> {
    if fail {
        return Err(std::io::Error::other(text).into());
    }
    Ok(text)
}

impl System {
    /// A page, as a browser asks for it.
    pub(crate) async fn page(&self, path: &str) -> Answer {
        let mut request = Request::builder()
            .uri(path)
            .header(header::ACCEPT, "text/html,*/*");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        read(self.send(request.body(Body::empty()).unwrap()).await).await
    }

    /// What a button does.
    pub(crate) async fn press(&self, fields: &[(&str, &str)], accept: &str) -> Answer {
        self.send_form("/do", fields, accept).await
    }

    /// What a form sends.
    pub(crate) async fn send_form(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        accept: &str,
    ) -> Answer {
        let form = "application/x-www-form-urlencoded";
        let body: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", value.replace('/', "%2F")))
            .collect();
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::CONTENT_TYPE, form)
            .header(header::ACCEPT, accept);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        read(
            self.send(request.body(Body::from(body.join("&"))).unwrap())
                .await,
        )
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_paused_is_the_first_thing_that_is_seen_and_a_button_mends_it() {
    let system = System::new().await;
    let client = system.fixture.client().await;
    double::call(2).enqueue(&client).await.unwrap();
    admin::queues::pause(&client, "default", "ada", Some("a <b>look</b>"))
        .await
        .unwrap();
    let page = system.page("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.text.contains("Queue default is paused"),
        "{}",
        page.text
    );
    assert!(page.text.contains("a &lt;b&gt;look&lt;/b&gt;"));
    assert!(!page.text.contains("://"), "a page names another host");

    let fields = [
        ("verb", "queue.resume"),
        ("name", "default"),
        ("back", "/queues"),
    ];
    let pressed = system.press(&fields, "text/html").await;
    assert_eq!(pressed.status, StatusCode::SEE_OTHER);
    assert_eq!(pressed.headers[header::LOCATION], "./queues");
    let set = admin::queues::get(&client, "default").await.unwrap();
    assert_eq!(set.settings.paused, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_a_task_that_waits_shows_what_it_was_called_with() {
    let system = System::new().await;
    let client = system.fixture.client().await;
    for (id, number) in [("first", 271_828), ("second", 314_159)] {
        double::call(number).id(id).enqueue(&client).await.unwrap();
    }
    let page = system.page("/tasks/second").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("314159"), "{}", page.text);
    assert!(!page.text.contains("271828"), "{}", page.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_script_is_asked_before_much_is_done() {
    let system = System::new().await;
    let client = system.fixture.client().await;
    double::call(2).enqueue(&client).await.unwrap();
    let mut fields = vec![("verb", "queue.purge"), ("name", "default"), ("back", "/")];
    let asked = system.press(&fields, "text/html").await;
    assert!(asked.text.contains("Are you sure?"));
    assert_eq!(client.queues().await.unwrap()[0].pending, 1);
    fields.push(("sure", "1"));
    system.press(&fields, "text/html").await;
    assert_eq!(client.queues().await.unwrap()[0].pending, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_sees_no_button_and_is_refused_all_the_same() {
    let (secret, line) = make_token("vera", Role::Viewer);
    let mut system = System::with(Access::parse(&line).unwrap()).await;
    let bearer = format!("Bearer {secret}").parse().unwrap();
    system.headers.insert(header::AUTHORIZATION, bearer);
    let client = system.fixture.client().await;
    double::call(2).enqueue(&client).await.unwrap();
    admin::queues::pause(&client, "default", "ada", None)
        .await
        .unwrap();
    let page = system.page("/").await;
    assert!(
        page.text.contains("Queue default is paused"),
        "{}",
        page.text
    );
    assert!(
        !page.text.contains("<form method=\"post\""),
        "{}",
        page.text
    );
    let fields = [("verb", "queue.resume"), ("name", "default")];
    let refused = system.press(&fields, "application/json").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.code(), "forbidden");
    let set = admin::queues::get(&client, "default").await.unwrap();
    assert!(set.settings.paused.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_has_a_button_for_a_viewer() {
    let (secret, line) = make_token("vera", Role::Viewer);
    let mut system = System::with(Access::parse(&line).unwrap()).await;
    let bearer = format!("Bearer {secret}").parse().unwrap();
    system.headers.insert(header::AUTHORIZATION, bearer);
    let client = system.fixture.client().await;
    let _worker = system.worker().await;
    let handle = double::call(2).enqueue(&client).await.unwrap();
    handle.outcome().await.unwrap();
    system
        .until("/v1/tasks", |page| {
            !page["items"].as_array().unwrap().is_empty()
        })
        .await;
    let task = format!("/tasks/{}", handle.id());
    for path in [
        "/",
        "/tasks",
        &task,
        "/queues",
        "/queues/default",
        "/types",
        "/types/double",
        "/failures",
        "/workers",
        "/schedules",
        "/live",
        "/audit",
        "/settings",
    ] {
        let page = system.page(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text);
        assert!(!page.text.contains("method=\"post\""), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_sensitive_task_was_called_with_and_returned_is_not_on_its_page() {
    let system = System::new().await;
    let client = system.fixture.client().await;
    let _worker = system.worker().await;
    let secret = "correct horse battery staple";
    let good = whisper::call(secret, false).enqueue(&client).await.unwrap();
    let bad = whisper::call(secret, true).enqueue(&client).await.unwrap();
    good.outcome().await.unwrap();
    bad.outcome().await.unwrap();
    system
        .until("/v1/tasks", |page| {
            page["items"].as_array().unwrap().len() == 2
        })
        .await;
    for id in [good.id(), bad.id()] {
        let page = system.page(&format!("/tasks/{id}")).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(
            page.text.contains("hidden: the task is sensitive"),
            "{}",
            page.text
        );
        assert!(!page.text.contains(secret), "{}", page.text);
    }
    for path in ["/", "/tasks", "/failures", "/types/whisper"] {
        let page = system.page(path).await;
        assert!(!page.text.contains(secret), "{path}: {}", page.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_reveals_what_is_sensitive_and_a_viewer_cannot() {
    let people = [("vera", Role::Viewer), ("ada", Role::Operator)]
        .map(|(name, role)| (make_token(name, role), role));
    let lines: Vec<&str> = people.iter().map(|((_, line), _)| line.as_str()).collect();
    let mut system = System::with(Access::parse(&lines.join("\n")).unwrap()).await;
    let bearer = |n: usize| format!("Bearer {}", people[n].0.0).parse().unwrap();
    let client = system.fixture.client().await;
    let secret = "correct horse battery staple";
    let later = whisper::call(secret, false)
        .delay(2.hours())
        .enqueue(&client)
        .await
        .unwrap();
    let good = whisper::call(secret, false).enqueue(&client).await.unwrap();
    let bad = whisper::call(secret, true).enqueue(&client).await.unwrap();
    let _worker = system.worker().await;
    good.outcome().await.unwrap();
    bad.outcome().await.unwrap();

    let ids = [later.id(), good.id(), bad.id()];
    let reveal = async |system: &System, id: &TaskId| {
        let path = format!("/tasks/{id}/reveal");
        system.send_form(&path, &[], "text/html,*/*").await
    };
    system.headers.insert(header::AUTHORIZATION, bearer(0));
    for id in ids {
        let page = system.page(&format!("/tasks/{id}")).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(!page.text.contains("reveal"), "{}", page.text);
        let page = reveal(&system, id).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN, "{}", page.text);
        assert!(!page.text.contains(secret), "{}", page.text);
    }
    system.headers.insert(header::AUTHORIZATION, bearer(1));
    for id in ids {
        let page = system.page(&format!("/tasks/{id}")).await;
        assert!(!page.text.contains(secret), "{}", page.text);
        let form = format!("method=\"post\" action=\"../tasks/{id}/reveal\"");
        assert!(page.text.contains(&form), "{}", page.text);
        // Who only follows a link is shown nothing, and nothing is recorded.
        for path in [
            format!("/tasks/{id}/reveal"),
            format!("/tasks/{id}?reveal=true"),
        ] {
            let page = system.page(&path).await;
            assert!(!page.status.is_success(), "{path}: {}", page.text);
            assert!(!page.text.contains(secret), "{path}: {}", page.text);
        }
        let page = reveal(&system, id).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        assert!(page.text.contains(secret), "{}", page.text);
        // Its buttons go back to the page that there is.
        let back = format!("name=\"back\" value=\"/tasks/{id}\"");
        let has = page.text.contains(&back) || !page.text.contains("name=\"back\"");
        assert!(has, "{}", page.text);
        // It is not looked at anew by itself, which would be recorded anew.
        assert!(!page.text.contains("data-live=\"\""), "{}", page.text);
    }
    let audit = system.get("/v1/audit?action=revealed").await;
    let entries = audit.json()["items"].as_array().unwrap().clone();
    let mut revealed: Vec<&str> = entries
        .iter()
        .map(|entry| entry["task_id"].as_str().unwrap())
        .collect();
    revealed.reverse();
    assert_eq!(revealed, ids.map(TaskId::as_str), "once each");
    assert!(entries.iter().all(|entry| entry["actor"]["name"] == "ada"));
    assert!(!audit.text.contains(secret), "{}", audit.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_not_begun_has_tabs_with_pages() {
    let system = System::new().await;
    let client = system.fixture.client().await;
    for n in 0..3u64 {
        double::call(n)
            .id(format!("waits-{n}"))
            .label("of", "a")
            .enqueue(&client)
            .await
            .unwrap();
    }
    linger::call(1)
        .id("later")
        .delay(2.hours())
        .enqueue(&client)
        .await
        .unwrap();
    let (mut path, mut seen) = ("/tasks?state=waiting&limit=2".to_owned(), Vec::new());
    for more in [true, false] {
        let page = system.page(&path).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        let ids = (0..3).map(|n| format!("waits-{n}"));
        seen.extend(ids.filter(|id| page.text.contains(&format!("data-key=\"{id}\""))));
        // What can be done to it, and nothing else.
        assert!(page.text.contains("value=\"tasks.cancel\""));
        assert!(!page.text.contains("value=\"tasks.retry\""));
        let link = page.text.split("rel=\"next\" href=\"./").nth(1);
        assert_eq!(link.is_some(), more, "{}", page.text);
        if let Some(link) = link {
            path = format!("/{}", link.split('"').next().unwrap()).replace("&amp;", "&");
        }
    }
    assert_eq!(seen, ["waits-0", "waits-1", "waits-2"]);

    let page = system.page("/tasks?state=scheduled").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    assert!(page.text.contains("data-key=\"later\""), "{}", page.text);
    assert!(page.text.contains(">in 1 h<") || page.text.contains(">in 2 h<"));
    // From a view of what has ended one comes to those that are like it, by
    // what can be asked for of them.
    let page = system
        .page("/tasks?state=failed&task=double&error=mailbox")
        .await;
    let tab = "tasks?state=scheduled&amp;task=double\"";
    assert!(page.text.contains(tab), "{}", page.text);
    // All that such a view finds can be acted on.
    let filter = "[[\"state\",\"waiting\"],[\"label\",\"of=a\"]]";
    let fields = [
        ("verb", "tasks.cancel"),
        ("which", "all"),
        ("filter", filter),
    ];
    let asked = system.press(&fields, "application/json").await;
    assert_eq!(asked.json()["ask"], "3 tasks will be cancelled.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_page_is_the_audit_log() {
    let (secret, line) = make_token("ada", Role::Admin);
    let mut system = System::with(Access::parse(&line).unwrap()).await;
    let bearer = format!("Bearer {secret}").parse().unwrap();
    system.headers.insert(header::AUTHORIZATION, bearer);
    let client = system.fixture.client().await;
    double::call(2)
        .queue("email")
        .enqueue(&client)
        .await
        .unwrap();
    let reason = serde_json::json!({"reason": "the <relay> is down"});
    system.post("/v1/queues/email:pause", reason).await;
    system
        .post("/v1/queues/email:resume", serde_json::json!({}))
        .await;
    system
        .post("/v1/index:rebuild", serde_json::json!({}))
        .await;
    let page = system.page("/audit").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    for told in [
        "queue paused",
        "queue resumed",
        // No event tells of it.
        "index rebuilt",
        "the &lt;relay&gt; is down",
        "via gateway",
        "known by token",
        "paused: ",
    ] {
        assert!(page.text.contains(told), "{told}: {}", page.text);
    }
    let rows = async |query: &str| {
        let page = system.page(&format!("/audit?{query}")).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        page.text.matches("<tr data-key").count()
    };
    assert_eq!(rows("").await, 3);
    assert_eq!(rows("action=queue_paused&by=ada").await, 1);
    assert_eq!(rows("queue=email").await, 2);
    assert_eq!(rows("by=bob&queue=").await, 0);
    // As a browser's field has it.
    assert_eq!(rows("since=2026-01-01T00:00").await, 3);
    assert_eq!(rows("until=2026-01-01T00:00").await, 0);
    let first = system.page("/audit?limit=2").await;
    let next = first.text.split("rel=\"next\" href=\"./audit?").nth(1);
    let next = next.unwrap().split('"').next().unwrap();
    assert_eq!(rows(&next.replace("&amp;", "&")).await, 1);
    let bad = system.page("/audit?since=yesterday").await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_problem_is_a_page_for_a_browser_and_assets_are_kept_by_it() {
    let system = System::new().await;
    let problem = system.page("/?range=1h&range=2h").await;
    assert_eq!(problem.status, StatusCode::BAD_REQUEST);
    assert!(
        problem.text.contains("The request makes no sense"),
        "{}",
        problem.text
    );
    let page = system.page("/").await;
    let css = page
        .text
        .split("href=\"./")
        .find(|part| part.starts_with("assets/") && part.contains("app.css"));
    let address = css.unwrap().split('"').next().unwrap();
    let asset = system.page(&format!("/{address}")).await;
    assert_eq!(asset.status, StatusCode::OK);
    assert_eq!(
        asset.headers[header::CONTENT_TYPE],
        "text/css; charset=utf-8"
    );
    assert!(
        asset.headers[header::CACHE_CONTROL]
            .to_str()
            .unwrap()
            .contains("immutable")
    );
}
