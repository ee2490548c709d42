//! A browser of a test's own, asked by Chromium's own protocol over its
//! WebSocket: it takes no second program, as WebDriver would.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use taskq_e2e::PATIENCE;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// A Chromium without a window, with one page.
pub(crate) struct Browser {
    chromium: Child,
    /// What it keeps, thrown away with it.
    _profile: tempfile::TempDir,
    ask: mpsc::UnboundedSender<(Value, oneshot::Sender<Value>)>,
    session: String,
    events: Arc<Mutex<Vec<Value>>>,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.chromium.kill();
        let _ = self.chromium.wait();
    }
}

fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let files = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    files.into_iter().find(|file| file.is_file())
}

impl Browser {
    /// None where there is no Chromium, which is told.
    pub(crate) async fn start() -> Option<Self> {
        let Some(program) = chromium() else {
            eprintln!("skipped: no Chromium");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let mut chromium = Command::new(program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--lang=en-GB",
                "--remote-debugging-port=0",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("chromium starts");
        let mut lines = BufReader::new(chromium.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("listening on ")?.1.trim().to_owned()))
            .expect("chromium tells where it listens");
        // It writes on, and would stop where nobody reads.
        std::thread::spawn(move || lines.for_each(drop));
        let (ask, events) = talk(&address).await;
        let mut browser = Self {
            chromium,
            _profile: profile,
            ask,
            session: String::new(),
            events,
        };
        let target = browser
            .ask("Target.createTarget", json!({"url": "about:blank"}))
            .await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.ask("Target.attachToTarget", attach).await;
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.ask(&format!("{domain}.enable"), json!({})).await;
        }
        browser.size(1440, 900).await;
        Some(browser)
    }

    /// Asks Chromium for something.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> Value {
        let answer = self.answer(method, params).await;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    async fn answer(&self, method: &str, params: Value) -> Value {
        let mut question = json!({"method": method, "params": params});
        if !self.session.is_empty() {
            question["sessionId"] = self.session.clone().into();
        }
        let (answer, answered) = oneshot::channel();
        self.ask.send((question, answer)).expect("chromium runs");
        let answer = tokio::time::timeout(3 * PATIENCE, answered).await;
        answer.expect("chromium answers").expect("chromium runs")
    }

    /// Goes to an address, and waits until the page is there.
    pub(crate) async fn go(&self, address: &str) {
        self.ask("Page.navigate", json!({"url": address})).await;
        let there = format!(
            "location.href === {} && document.readyState === 'complete'",
            json!(address)
        );
        self.until(address, &there).await;
    }

    /// How large the page is seen.
    pub(crate) async fn size(&self, width: u32, height: u32) {
        let params = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.ask("Emulation.setDeviceMetricsOverride", params).await;
    }

    /// What the system prefers: `dark` or `light`.
    pub(crate) async fn theme(&self, theme: &str) {
        let params = json!({"features": [{"name": "prefers-color-scheme", "value": theme}]});
        self.ask("Emulation.setEmulatedMedia", params).await;
    }

    /// Whether scripts run.
    pub(crate) async fn scripts(&self, run: bool) {
        self.ask(
            "Emulation.setScriptExecutionDisabled",
            json!({"value": !run}),
        )
        .await;
    }

    async fn evaluate(&self, script: &str) -> Value {
        let params = json!({
            "expression": script, "awaitPromise": true, "returnByValue": true, "userGesture": true,
        });
        let answer = self.answer("Runtime.evaluate", params).await;
        // A page on its way to another answers nothing.
        answer["result"].clone()
    }

    /// What a script comes to.
    pub(crate) async fn run(&self, script: &str) -> Value {
        let answer = self.evaluate(script).await;
        let failed = answer.get("exceptionDetails");
        assert!(failed.is_none(), "{script}: {failed:?}");
        answer["result"]["value"].clone()
    }

    /// The text of what a selector finds.
    pub(crate) async fn text(&self, selector: &str) -> String {
        let script = format!(
            "document.querySelector({})?.innerText ?? ''",
            json!(selector)
        );
        self.run(&script)
            .await
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Waits until a script says that something is so.
    pub(crate) async fn until(&self, what: &str, script: &str) {
        let limit = tokio::time::Instant::now() + 3 * PATIENCE;
        let script = format!("Boolean({script})");
        loop {
            // A page on its way to another answers nothing.
            if self.evaluate(&script).await["result"]["value"] == json!(true) {
                return;
            }
            if tokio::time::Instant::now() > limit {
                panic!("in vain: {what}\n{}", self.text("body").await);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the page's scripts run.
    pub(crate) async fn ready(&self) {
        let is_live = "document.querySelector('[data-live-state]:not([hidden])')";
        self.until("the page is live", is_live).await;
    }

    /// Clicks what a selector finds, once it is there.
    pub(crate) async fn click(&self, selector: &str) {
        let selector = json!(selector);
        self.until(
            &format!("{selector} is there"),
            &format!("document.querySelector({selector})"),
        )
        .await;
        self.run(&format!("document.querySelector({selector}).click()"))
            .await;
    }

    /// Writes into a field, in place of what is there.
    pub(crate) async fn fill(&self, selector: &str, text: &str) {
        let selector = json!(selector);
        self.run(&format!("document.querySelector({selector}).select()"))
            .await;
        self.write(text).await;
    }

    /// Types a key, as a keyboard would.
    pub(crate) async fn key(&self, key: &str) {
        let mut down = json!({"type": "keyDown", "key": key});
        if key.chars().count() == 1 {
            down["text"] = key.into();
        }
        if key == "Enter" {
            down["text"] = "\r".into();
            down["windowsVirtualKeyCode"] = 13.into();
        }
        if key == "Escape" {
            down["windowsVirtualKeyCode"] = 27.into();
        }
        self.ask("Input.dispatchKeyEvent", down).await;
        self.ask(
            "Input.dispatchKeyEvent",
            json!({"type": "keyUp", "key": key}),
        )
        .await;
    }

    /// Types a text into what has the focus.
    pub(crate) async fn write(&self, text: &str) {
        self.ask("Input.insertText", json!({"text": text})).await;
    }

    /// What has happened of a kind since this was last asked.
    pub(crate) fn events(&self, method: &str) -> Vec<Value> {
        let mut events = self.events.lock().unwrap();
        let (of, others) = events
            .drain(..)
            .partition(|event| event["method"] == method);
        *events = others;
        of
    }

    /// What is seen, or all of the page, as a PNG.
    pub(crate) async fn picture(&self, whole: bool) -> Vec<u8> {
        let params = json!({"captureBeyondViewport": whole});
        let picture = self.ask("Page.captureScreenshot", params).await;
        STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()
    }
}

/// Puts questions and answers together, and keeps what else is told.
async fn talk(
    address: &str,
) -> (
    mpsc::UnboundedSender<(Value, oneshot::Sender<Value>)>,
    Arc<Mutex<Vec<Value>>>,
) {
    let (socket, _) = tokio_tungstenite::connect_async(address)
        .await
        .expect("chromium listens");
    let (mut write, mut read) = socket.split();
    let (ask, mut asked) = mpsc::unbounded_channel::<(Value, oneshot::Sender<Value>)>();
    let (waiting, events) = (Waiting::default(), Arc::<Mutex<Vec<Value>>>::default());
    let (asking, telling) = (Arc::clone(&waiting), Arc::clone(&events));
    tokio::spawn(async move {
        let mut number = 0;
        while let Some((mut question, answer)) = asked.recv().await {
            number += 1;
            question["id"] = number.into();
            asking.lock().unwrap().insert(number, answer);
            if write
                .send(Message::text(question.to_string()))
                .await
                .is_err()
            {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some(Ok(message)) = read.next().await {
            let Ok(text) = message.to_text() else {
                continue;
            };
            let Ok(told) = serde_json::from_str::<Value>(text) else {
                continue;
            };
            let answer = told["id"]
                .as_u64()
                .and_then(|id| waiting.lock().unwrap().remove(&id));
            match answer {
                Some(answer) => drop(answer.send(told)),
                None => telling.lock().unwrap().push(told),
            }
        }
    });
    (ask, events)
}
