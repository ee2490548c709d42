//! Who may connect, and what each role may do: against real servers that
//! refuse. (docs/security.md)
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panics"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use futures::{StreamExt as _, TryStreamExt as _};
use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa};
use taskq::admin::{self, DelayedFilter, EventFilter, InitOptions, ProvisionAction, queues, tasks};
use taskq::prelude::*;
use taskq::{
    Cancellation, ClientBuilder, Error, ErrorKind, OutcomeState, Rescheduled, Status, Timestamp,
};
use taskq_e2e::{PATIENCE, ROLES, Roles, Running, found, until};
use taskq_nats_server::{NatsServer, NatsServerBuilder};
use tempfile::TempDir;
use tokio::sync::Semaphore;

/// What is refused is refused at once, not when trying again is over: after 10 s to connect,
/// and 15 s to send.
const AT_ONCE: Duration = Duration::from_secs(8);

#[task]
async fn shout(text: String) -> String {
    text.to_uppercase()
}

#[task(retries = 1, backoff = "constant(1s)")]
async fn second_time_lucky(ctx: Context) -> Result<u32, std::io::Error> {
    match ctx.attempt() {
        1 => Err(std::io::Error::other("not yet")),
        attempt => Ok(attempt),
    }
}

#[task(unique)]
async fn once(n: u32) -> u32 {
    n
}

/// Longer than two leases of a second.
#[task]
async fn outlast(_ctx: Context) -> u32 {
    LONG.acquire().await.unwrap().forget();
    1
}

/// Ends by being cancelled only.
#[task]
async fn endless() -> u32 {
    std::future::pending().await
}

static LONG: Semaphore = Semaphore::const_new(0);

// --- Transport -------------------------------------------------------------

/// A certificate authority, and what it has signed, in files.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The files of a certificate and its key.
    fn sign(&self, name: &str, host: &str, set: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        set(&mut params);
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let file = |end: &str, text: String| {
            let path = self.folder.path().join(format!("{name}{end}"));
            std::fs::write(&path, text).unwrap();
            path
        };
        Identity {
            cert: file(".pem", cert.pem()),
            key: file(".key", key.serialize_pem()),
        }
    }
}

struct Identity {
    cert: PathBuf,
    key: PathBuf,
}

fn tls_server(of: &Identity, more: &str) -> NatsServer {
    NatsServer::builder()
        .config(&format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, {more} }}",
            of.cert, of.key
        ))
        .start()
        .unwrap()
}

/// The error of a connection that is refused, at once and in a sentence.
async fn refusal(builder: ClientBuilder, says: &[&str]) -> Error {
    let shown = format!("{builder:?}");
    let started = Instant::now();
    let error = builder.connect().await.unwrap_err();
    assert!(
        started.elapsed() < AT_ONCE,
        "{:?}: {error}",
        started.elapsed()
    );
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    for part in says {
        assert!(text.contains(part), "lacks {part:?}: {text}");
    }
    for secret in SECRETS {
        for told in [&shown, &text, &format!("{error:?}")] {
            assert!(!told.contains(secret), "tells {secret}: {told}");
        }
    }
    error
}

/// What must never be shown.
const SECRETS: [&str; 4] = ["pa55", "t0ken", "SUA", "BEGIN"];

async fn works(builder: ClientBuilder) {
    let client = builder.connect().await.unwrap();
    let id = shout::enqueue(&client, "x").await.unwrap().id().clone();
    assert_eq!(
        client.handle::<String>(id).status().await.unwrap(),
        Status::Waiting
    );
}

#[tokio::test]
async fn tls_needs_a_server_that_the_named_authority_has_signed() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = tls_server(&ours.sign("server", "127.0.0.1", |_| {}), "");
    let builder = || Client::builder().url(server.url());
    works(builder().ca(ours.ca())).await;
    works(
        Client::builder()
            .url(server.url().replace("nats:", "tls:"))
            .ca(ours.ca()),
    )
    .await;

    let file = theirs.ca();
    let says = [file.to_str().unwrap(), "not signed by", "NATS_CA"];
    let wrong = refusal(builder().ca(&file), &says).await;
    assert_eq!(wrong.kind(), ErrorKind::Connect);
    refusal(builder(), &["set NATS_CA"]).await;
    let missing = refusal(builder().ca("/no/such/ca.pem"), &["/no/such/ca.pem"]).await;
    assert_eq!(missing.kind(), ErrorKind::Invalid);

    let plain = NatsServer::builder().start().unwrap();
    let builder = Client::builder().url(plain.url()).ca(ours.ca());
    refusal(builder, &["does not speak TLS", "unset NATS_CA"]).await;
}

#[tokio::test]
async fn tls_refuses_a_server_whose_certificate_is_old_or_anothers() {
    let ours = Authority::new();
    let old = ours.sign("old", "127.0.0.1", |params| {
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let server = tls_server(&old, "");
    let builder = Client::builder().url(server.url()).ca(ours.ca());
    refusal(builder, &["not valid today", "renew it"]).await;

    let other = ours.sign("other", "nats.example", |_| {});
    let server = tls_server(&other, "");
    let builder = Client::builder().url(server.url()).ca(ours.ca());
    refusal(builder, &["for another host", "NATS_URL"]).await;
}

#[tokio::test]
async fn mtls_needs_a_certificate_of_the_client_too() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = tls_server(
        &ours.sign("server", "127.0.0.1", |_| {}),
        &format!("ca_file: {:?}, verify: true", ours.ca()),
    );
    let builder = || Client::builder().url(server.url()).ca(ours.ca());
    let own = ours.sign("client", "client", |_| {});
    works(builder().identity(&own.cert, &own.key)).await;

    let none = refusal(builder(), &["asks for a certificate", "NATS_CERT"]).await;
    assert_eq!(none.kind(), ErrorKind::Connect);
    let wrong = theirs.sign("client", "client", |_| {});
    refusal(
        builder().identity(&wrong.cert, &wrong.key),
        &["refused the certificate in", wrong.cert.to_str().unwrap()],
    )
    .await;
    refusal(
        builder().identity("/no/such.pem", &wrong.key),
        &["/no/such.pem", "NATS_CERT"],
    )
    .await;
}

#[tokio::test]
async fn a_user_needs_the_password_and_a_token_the_token() {
    let server = NatsServer::builder().user("ada", "pa55").start().unwrap();
    let builder = || Client::builder().url(server.url());
    works(builder().user("ada", "pa55")).await;
    works(Client::builder().url(server.url().replace("//", "//ada:pa55@"))).await;
    let says = ["refused user `ada`", "NATS_PASSWORD"];
    let wrong = refusal(builder().user("ada", "pa55-old"), &says).await;
    assert_eq!(wrong.kind(), ErrorKind::Unauthorized);
    let in_url = server.url().replace("//", "//ada:pa55-old@");
    refusal(Client::builder().url(in_url), &["refused", "NATS_URL"]).await;
    refusal(builder(), &["without credentials", "NATS_PASSWORD"]).await;

    let server = NatsServer::builder().token("t0ken").start().unwrap();
    let builder = || Client::builder().url(server.url());
    works(builder().token("t0ken")).await;
    let wrong = refusal(builder().token("t0ken-old"), &["NATS_TOKEN"]).await;
    assert_eq!(wrong.kind(), ErrorKind::Unauthorized);
}

#[tokio::test]
async fn an_nkey_needs_its_seed() {
    let (known, unknown) = (KeyPair::new_user(), KeyPair::new_user());
    let server = NatsServer::builder()
        .config(&format!(
            "authorization {{ users: [ {{ nkey: {} }} ] }}",
            known.public_key()
        ))
        .start()
        .unwrap();
    let builder = || Client::builder().url(server.url());
    works(builder().nkey(known.seed().unwrap())).await;
    let wrong = builder().nkey(unknown.seed().unwrap());
    let wrong = refusal(wrong, &["this nkey", "NATS_NKEY"]).await;
    assert_eq!(wrong.kind(), ErrorKind::Unauthorized);
    refusal(
        builder().nkey("SUAno-seed"),
        &["cannot sign in", "NATS_NKEY"],
    )
    .await;
}

/// An operator of the JWT kind with one account, and a server that trusts it.
struct Trust {
    folder: TempDir,
    account: KeyPair,
    server: NatsServer,
}

fn jwt(signer: &KeyPair, subject: &str, expires: Option<u64>, nats: &serde_json::Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut claims = serde_json::json!({
        "jti": subject, "iat": now.as_secs(), "iss": signer.public_key(), "sub": subject,
        "name": "taskq", "nats": nats,
    });
    if let Some(expires) = expires {
        claims["exp"] = expires.into();
    }
    let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let head = encode(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let body = format!("{head}.{}", encode(claims.to_string().as_bytes()));
    let signature = signer.sign(body.as_bytes()).unwrap();
    format!("{body}.{}", encode(&signature))
}

impl Trust {
    fn new() -> Self {
        let (operator, account) = (KeyPair::new_operator(), KeyPair::new_account());
        let operator_jwt = jwt(
            &operator,
            &operator.public_key(),
            None,
            &serde_json::json!({ "type": "operator", "version": 2 }),
        );
        // JetStream is not allowed to the system's account.
        let account_jwt = |account: &KeyPair, storage: i32| {
            jwt(
                &operator,
                &account.public_key(),
                None,
                &serde_json::json!({
                    "type": "account", "version": 2,
                    "limits": {
                        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
                        "wildcards": true, "conn": -1, "leaf": -1, "mem_storage": storage,
                        "disk_storage": storage, "streams": -1, "consumer": -1,
                    },
                }),
            )
        };
        let system = KeyPair::new_account();
        let server = NatsServer::builder()
            .config(&format!(
                "operator: {operator_jwt}\nsystem_account: {system_key}\nresolver: MEMORY\n\
                 resolver_preload: {{ {system_key}: {}, {}: {} }}",
                account_jwt(&system, 0),
                account.public_key(),
                account_jwt(&account, -1),
                system_key = system.public_key(),
            ))
            .start()
            .unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            account,
            server,
        }
    }

    /// A file of credentials, signed by somebody.
    fn credentials(&self, name: &str, signer: &KeyPair, expires: Option<u64>) -> PathBuf {
        let user = KeyPair::new_user();
        let jwt = jwt(
            signer,
            &user.public_key(),
            expires,
            &serde_json::json!({
                "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1,
            }),
        );
        let path = self.folder.path().join(name);
        let seed = user.seed().unwrap();
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        std::fs::write(&path, text).unwrap();
        path
    }
}

#[tokio::test]
async fn credentials_must_be_signed_by_the_account_and_not_expired() {
    let trust = Trust::new();
    let builder = |path: &Path| {
        Client::builder()
            .url(trust.server.url())
            .credentials_file(path)
    };
    works(builder(&trust.credentials(
        "good.creds",
        &trust.account,
        None,
    )))
    .await;

    let stranger = trust.credentials("stranger.creds", &KeyPair::new_account(), None);
    let says = ["stranger.creds", "check NATS_CREDS"];
    let wrong = refusal(builder(&stranger), &says).await;
    assert_eq!(wrong.kind(), ErrorKind::Unauthorized);

    let old = trust.credentials("old.creds", &trust.account, Some(1_700_000_000));
    let says = ["old.creds", "expired at 2023-11-14T22:13:20", "new ones"];
    let expired = refusal(builder(&old), &says).await;
    assert_eq!(expired.kind(), ErrorKind::Unauthorized);

    let none = trust.folder.path().join("none.creds");
    let says = ["none.creds", "NATS_CREDS"];
    assert_eq!(
        refusal(builder(&none), &says).await.kind(),
        ErrorKind::Invalid
    );
    std::fs::write(&none, "-----BEGIN USER NKEY SEED-----\nSUAbad\n").unwrap();
    refusal(builder(&none), &says).await;
}

// --- Roles -----------------------------------------------------------------

/// What a role may and must not, beyond what the other tests make use of.
struct Rights {
    role: &'static str,
    may_publish: &'static [&'static str],
    must_not_publish: &'static [&'static str],
    may_hear: &'static [&'static str],
    must_not_hear: &'static [&'static str],
}

const RIGHTS: [Rights; 4] = [
    Rights {
        role: "producer",
        may_publish: &[
            "taskq.due.default.normal.t.1",
            "taskq.event.enqueued.default.1",
            "taskq.hold.default.normal.k.t.1",
            "taskq.gate.default.wake",
            "taskq.state.cancel.x.1",
            "$O.TASKQ_PAYLOADS.C.1",
            "$JS.API.DIRECT.GET.OBJ_TASKQ_PAYLOADS.$O.TASKQ_PAYLOADS.M.1",
            "$JS.API.CONSUMER.CREATE.OBJ_TASKQ_PAYLOADS.c.$O.TASKQ_PAYLOADS.C.1",
            "$JS.API.CONSUMER.DELETE.OBJ_TASKQ_PAYLOADS.c",
            "$JS.FC.OBJ_TASKQ_PAYLOADS.c.1",
        ],
        must_not_publish: &[
            "taskq.done.x.1",
            "taskq.stored.x",
            "taskq.dead.default.t.1",
            "taskq.gate.default.ended",
            "taskq.state.gate.default",
            "taskq.state.history.x.1",
            "taskq.state.fire.x",
            "taskq.settings.schedule.x",
            "taskq.core.done.x.1",
            "$JS.API.CONSUMER.MSG.NEXT.TASKQ_Q_default.w_normal",
            "$JS.ACK.TASKQ_Q_default.w_normal.1.1.1.1.0",
            "$JS.API.STREAM.CREATE.TASKQ_DONE",
            "$JS.API.STREAM.UPDATE.TASKQ_DONE",
            "$JS.API.STREAM.DELETE.TASKQ_DONE",
            "$JS.API.STREAM.PURGE.TASKQ_PLAN",
            "$JS.API.STREAM.MSG.DELETE.TASKQ_Q_default",
            "$JS.API.STREAM.MSG.DELETE.TASKQ_H_default",
            "$JS.API.CONSUMER.CREATE.TASKQ_Q_default.c.taskq.work.default.>",
            "$O.TASKQ_RESULTS.C.1",
            "$JS.API.CONSUMER.CREATE.TASKQ_DONE.c",
            "taskq.settings.queue.default",
            "taskq.control.w1",
            "taskq.limit.slot.default.0",
            "$JS.API.CONSUMER.PAUSE.TASKQ_Q_default.w_normal",
            "_IN_worker.x",
        ],
        may_hear: &["taskq.event.>", "taskq.done.x.>", "taskq.stored.x"],
        must_not_hear: &[
            "taskq.work.>",
            "taskq.gate.>",
            "_IN_worker.>",
            "$JS.ACK.>",
            ">",
        ],
    },
    Rights {
        role: "worker",
        may_publish: &[
            "taskq.due.default.normal.t.1",
            "$JS.ACK.TASKQ_Q_default.w_normal.1.1.1.1.0",
            "$JS.ACK._.hash.TASKQ_Q_default.w_normal.1.1.1.1.0.x",
            "taskq.event.started.default.1",
            "taskq.state.cancel.x.1",
            "taskq.state.history.x.1",
            "taskq.state.fire.x",
            "taskq.settings.schedule.x",
            "taskq.state.gate.default",
            "taskq.work.default.gate",
            "taskq.work.default.normal.t.k.1",
            "taskq.gate.default.room",
            "$JS.API.STREAM.MSG.DELETE.TASKQ_H_default",
            "$JS.API.STREAM.PURGE.TASKQ_H_default",
            "$JS.API.DIRECT.GET.TASKQ_H_default",
            "taskq.dead.default.t.1",
            "$O.TASKQ_PAYLOADS.M.1",
            "$O.TASKQ_RESULTS.M.1",
            "$JS.API.STREAM.PURGE.OBJ_TASKQ_PAYLOADS",
            "taskq.limit.slot.default.0",
            "taskq.limit.rate.default",
            "taskq.slots.default",
            "$JS.API.STREAM.MSG.DELETE.TASKQ_LIMITS",
        ],
        must_not_publish: &[
            "taskq.control.w1",
            "taskq.settings.queue.default",
            "taskq.settings.task.t",
            "$JS.API.CONSUMER.PAUSE.TASKQ_Q_default.w_normal",
            "taskq.work.default.normal.t.1",
            "taskq.hold.default.normal.k.t.1",
            "taskq.state.lock.k",
            "$JS.API.STREAM.CREATE.TASKQ_DONE",
            "$JS.API.STREAM.UPDATE.TASKQ_DONE",
            "$JS.API.STREAM.DELETE.TASKQ_DONE",
            "$JS.API.STREAM.PURGE.TASKQ_PLAN",
            "$JS.API.STREAM.MSG.DELETE.TASKQ_DONE",
            "$JS.API.STREAM.MSG.DELETE.TASKQ_DEAD",
            "$JS.API.STREAM.MSG.DELETE.TASKQ_PLAN",
            "$JS.API.STREAM.MSG.DELETE.TASKQ_SETTINGS",
            "$JS.API.STREAM.MSG.DELETE.TASKQ_EVENTS",
            "$JS.API.STREAM.PURGE.TASKQ_DONE",
            "$JS.API.STREAM.PURGE.TASKQ_DEAD",
            "$JS.API.STREAM.PURGE.TASKQ_STATE",
            "$JS.API.STREAM.PURGE.TASKQ_SETTINGS",
            "$JS.API.STREAM.PURGE.TASKQ_EVENTS",
            "$JS.API.STREAM.PURGE.TASKQ_AUDIT",
            "$JS.API.STREAM.MSG.DELETE.TASKQ_AUDIT",
            "taskq.audit.queue_paused",
            "$JS.API.STREAM.MSG.DELETE.OBJ_TASKQ_PAYLOADS",
            "$JS.API.STREAM.MSG.DELETE.OBJ_TASKQ_RESULTS",
            "$JS.API.CONSUMER.CREATE.TASKQ_Q_default.w_normal.taskq.work.default.normal.>",
            "_IN_producer.x",
        ],
        may_hear: &[
            "taskq.state.cancel.>",
            "taskq.core.work.default.>",
            "taskq.gate.default.>",
            "taskq.settings.>",
            "taskq.slots.*",
            "taskq.control.w1",
        ],
        must_not_hear: &["taskq.work.>", "taskq.done.>", "_IN_producer.>", ">"],
    },
    Rights {
        role: "operator",
        may_publish: &[
            "taskq.due.default.normal.t.1",
            "$JS.API.STREAM.PURGE.TASKQ_PLAN",
            "$JS.API.STREAM.MSG.DELETE.TASKQ_Q_default",
            "$JS.API.CONSUMER.CREATE.TASKQ_EVENTS.c",
            "$JS.API.CONSUMER.MSG.NEXT.TASKQ_EVENTS.c",
            "$JS.API.CONSUMER.PAUSE.TASKQ_Q_default.w_normal",
            "$JS.ACK._.hash.TASKQ_EVENTS.c.1.1.1.1.0.x",
            "taskq.done.x.1",
            "taskq.hold.default.normal.k.t.1",
            "taskq.dead.default.t.1",
            "taskq.state.cancel.x.1",
            "taskq.state.history.x.1",
            "taskq.event.cancelled.default.1",
            "taskq.settings.queue.default",
            "taskq.settings.task.t",
            "taskq.due.default.normal.t.1",
            "taskq.control.w1",
            "taskq.worker.w1.detail",
            "taskq.audit.queue_paused",
        ],
        must_not_publish: &[
            "$JS.API.STREAM.DELETE.TASKQ_DONE",
            "$JS.API.STREAM.PURGE.TASKQ_AUDIT",
            "$JS.API.STREAM.MSG.DELETE.TASKQ_AUDIT",
            "_IN_producer.x",
        ],
        may_hear: &["taskq.event.>", "taskq.state.cancel.>"],
        must_not_hear: &["_IN_producer.>", "taskq.work.>", ">"],
    },
    Rights {
        role: "viewer",
        may_publish: &[
            "$JS.API.CONSUMER.CREATE.TASKQ_EVENTS.c",
            "$JS.API.CONSUMER.MSG.NEXT.TASKQ_EVENTS.c",
            "$JS.ACK.TASKQ_EVENTS.c.1.1.1.1.0",
            "$JS.ACK._.hash.TASKQ_EVENTS.c.1.1.1.1.0.x",
            "$JS.API.CONSUMER.CREATE.TASKQ_AUDIT.c",
        ],
        must_not_publish: &[
            "taskq.control.w1",
            "taskq.audit.queue_paused",
            "taskq.due.default.normal.t.1",
            "taskq.work.default.normal.t.1",
            "taskq.hold.default.normal.k.t.1",
            "taskq.gate.default.wake",
            "taskq.state.gate.default",
            "taskq.plan.default.t.1",
            "taskq.done.x.1",
            "taskq.event.x",
            "taskq.state.cancel.x.1",
            "taskq.state.fire.x",
            "taskq.settings.schedule.x",
            "taskq.core.work.default.normal.t.1",
            "taskq.settings.queue.default",
            "taskq.limit.rate.default",
            "$JS.API.CONSUMER.PAUSE.TASKQ_Q_default.w_normal",
            "$JS.ACK.TASKQ_Q_default.w_normal.1.1.1.1.0",
            "$JS.API.CONSUMER.MSG.NEXT.TASKQ_Q_default.w_normal",
            "$JS.API.CONSUMER.CREATE.TASKQ_Q_default.c",
            "$JS.API.STREAM.CREATE.TASKQ_DONE",
            "$JS.API.STREAM.MSG.DELETE.TASKQ_DONE",
            "$JS.API.STREAM.PURGE.TASKQ_PLAN",
        ],
        may_hear: &["taskq.event.>", "taskq.done.>"],
        must_not_hear: &["_IN_operator.>", "taskq.work.>", ">"],
    },
];

#[task(concurrency = 1, per = "customer")]
async fn in_turn(customer: String) -> String {
    customer
}

#[tokio::test]
async fn the_file_grants_each_role_its_subjects_and_no_others() {
    let roles = Roles::start();
    for rights in RIGHTS {
        let Rights {
            role,
            may_publish,
            must_not_publish,
            may_hear,
            must_not_hear,
        } = rights;
        let denied = Arc::new(Mutex::new(BTreeSet::new()));
        let told = Arc::clone(&denied);
        let nats = async_nats::ConnectOptions::new()
            .user_and_password(role.to_owned(), Roles::password(role))
            .custom_inbox_prefix(format!("_IN_{role}"))
            .event_callback(move |event| {
                let told = Arc::clone(&told);
                async move {
                    if let async_nats::Event::ServerError(error) = event {
                        let text = error.to_string();
                        let subject = text.split('"').nth(1).unwrap_or(&text).to_owned();
                        told.lock().unwrap().insert(subject);
                    }
                }
            })
            .connect(roles.server.url())
            .await
            .unwrap();
        let mut heard = Vec::new();
        for subject in may_hear.iter().chain(must_not_hear) {
            heard.push(nats.subscribe(*subject).await.unwrap());
        }
        for subject in may_publish.iter().chain(must_not_publish) {
            nats.publish(*subject, "".into()).await.unwrap();
        }
        // The server takes what it is sent in order.
        nats.publish("the.end", "".into()).await.unwrap();
        until("the server has seen all", || {
            denied.lock().unwrap().contains("the.end")
        })
        .await;
        let expected: BTreeSet<String> = must_not_publish
            .iter()
            .chain(must_not_hear)
            .chain(&["the.end"])
            .map(|subject| (*subject).to_owned())
            .collect();
        assert_eq!(*denied.lock().unwrap(), expected, "{role}");
    }
}

async fn prepared() -> Roles {
    let roles = Roles::start();
    let operator = roles.client("operator").await;
    admin::init(&operator, InitOptions::new().queues(["default"]))
        .await
        .unwrap();
    roles
}

/// The error of something that the role may not do: at once, and with the
/// subject and the right in it.
async fn denied<T: std::fmt::Debug>(
    attempt: impl Future<Output = taskq::Result<T>>,
    says: &[&str],
) -> Error {
    let started = Instant::now();
    let error = attempt.await.unwrap_err();
    assert!(
        started.elapsed() < AT_ONCE,
        "{:?}: {error}",
        started.elapsed()
    );
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    for part in says {
        assert!(error.to_string().contains(part), "lacks {part:?}: {error}");
    }
    error
}

#[task(schedule = "*/3 * * * * *", overlap = "queue one", discover = false)]
async fn tick() {}

#[tokio::test]
async fn workers_plan_and_fire_schedules_operators_set_them_and_others_do_not() {
    use taskq::admin::schedules;
    let roles = prepared().await;
    let worker = Worker::builder(roles.client("worker").await).task::<tick>();
    let _running = Running::start(worker).await;
    let operator = roles.client("operator").await;
    let ticked = async |name: &str| {
        let limit = Instant::now() + taskq_e2e::PATIENCE;
        loop {
            if let Ok(info) = schedules::get(&operator, name).await
                && info.last.is_some_and(|last| last.status == "succeeded")
            {
                return;
            }
            assert!(Instant::now() < limit, "in vain: {name} fires");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    ticked("tick").await;
    let call = || shout::call("set");
    let set = operator
        .schedule("set", call())
        .every(Duration::from_secs(1));
    set.save().await.unwrap();
    ticked("set").await;
    // Changed, and its old fires taken out of the plan.
    let set = operator
        .schedule("set", call().label("x", 1))
        .every(Duration::from_secs(2));
    set.save().await.unwrap();
    schedules::pause(&operator, "set", "ada", None)
        .await
        .unwrap();
    schedules::remove(&operator, "set", "ada").await.unwrap();
    for role in ["producer", "viewer"] {
        let client = roles.client(role).await;
        let set = client.schedule("no", call()).cron("@daily").save();
        denied(
            set,
            &["taskq.settings.schedule.no", "right to set schedules"],
        )
        .await;
        schedules::list(&client).await.unwrap();
    }
}

#[tokio::test]
async fn producer_and_worker_do_their_work_and_no_more() {
    let roles = prepared().await;
    let producer = roles.client("producer").await;
    let worker = roles.client("worker").await;
    let running = Running::start(Worker::builder(worker.clone())).await;

    // Now, later, once for a key, with a chosen id; and waiting for it.
    let now = shout::enqueue(&producer, "now").await.unwrap();
    assert_eq!(now.result().await.unwrap(), "NOW");
    let later = shout::call("later")
        .delay(Duration::from_millis(300))
        .enqueue(&producer)
        .await
        .unwrap();
    let only = once::enqueue(&producer, 5u32).await.unwrap();
    let named = || shout::call("named").id("mine").enqueue(&producer);
    let first = named().await.unwrap();
    assert!(!first.is_existing());
    assert!(named().await.unwrap().is_existing());
    // The worker retries, which is a plan of its own.
    let retried = second_time_lucky::enqueue(&producer).await.unwrap();
    assert_eq!(first.result().await.unwrap(), "NAMED");
    assert_eq!(later.result().await.unwrap(), "LATER");
    assert_eq!(only.result().await.unwrap(), 5);
    assert_eq!(retried.result().await.unwrap(), 2);
    // Arguments and a value that are too large for a message.
    let large = "x".repeat(1_500_000);
    let large = shout::enqueue(&producer, &large).await.unwrap();
    assert_eq!(large.result().await.unwrap().len(), 1_500_000);
    // The lock was given up by the worker.
    let again = once::enqueue(&producer, 5u32).await.unwrap();
    assert_eq!(again.result().await.unwrap(), 5);
    // Another client's handle.
    let other = roles.client("producer").await;
    let handle = other.handle::<String>(now.id().clone());
    assert_eq!(handle.result().await.unwrap(), "NOW");

    // A producer asks to cancel; an operator cancels what waits.
    let held = endless::enqueue(&producer).await.unwrap();
    until("it runs", || running.stats.running() == 1).await;
    let wish = producer.cancel(held.id().clone()).await.unwrap();
    // A worker may be quicker to act upon it than the producer to look.
    assert!(
        matches!(wish, Cancellation::Requested | Cancellation::Cancelled),
        "{wish:?}"
    );
    assert_eq!(held.outcome().await.unwrap().state, OutcomeState::Cancelled);
    let hour = Duration::from_secs(3600);
    let planned = async || {
        shout::call("x")
            .delay(hour)
            .enqueue(&producer)
            .await
            .unwrap()
    };
    let wish = producer.cancel(planned().await.id().clone()).await.unwrap();
    assert_eq!(wish, Cancellation::Requested);
    // Who sent it moves it, or starts it now.
    let other_time = planned().await;
    let later = Timestamp::now().plus(2 * hour);
    let moved = other_time.reschedule(later).await.unwrap();
    assert_eq!(moved, Rescheduled::Moved);
    assert_eq!(other_time.run_now().await.unwrap(), Rescheduled::Moved);
    assert_eq!(other_time.result().await.unwrap(), "X");
    let operator = roles.client("operator").await;
    let planned = planned().await;
    for role in ["viewer", "operator"] {
        let client = roles.client(role).await;
        let delayed = admin::delayed(&client, DelayedFilter::default()).await;
        let delayed: Vec<_> = delayed.unwrap().try_collect().await.unwrap();
        assert!(delayed.iter().any(|task| task.id == *planned.id()));
    }
    let moved = operator.reschedule(planned.id().clone(), later).await;
    assert_eq!(moved.unwrap(), Rescheduled::Moved);
    let done = operator.cancel(planned.id().clone()).await.unwrap();
    assert_eq!(done, Cancellation::Cancelled);
    assert_eq!(
        planned.outcome().await.unwrap().state,
        OutcomeState::Cancelled
    );
    // Both who look read what happened.
    for role in ["viewer", "operator"] {
        let client = roles.client(role).await;
        let since = Some(Timestamp::from_millis(0));
        let events: Vec<_> = admin::events(&client, EventFilter::default(), since, false)
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        assert!(events.len() > 5, "{role}: {events:?}");
        // And hear what happens.
        let all = EventFilter::default();
        let mut follow = admin::events(&client, all, None, true)
            .await
            .unwrap()
            .boxed();
        shout::enqueue(&producer, "heard").await.unwrap();
        let heard = tokio::time::timeout(PATIENCE, follow.try_next()).await;
        assert!(heard.unwrap().unwrap().is_some(), "{role}");
    }

    // It is found by those who look, not by the producer.
    for role in ["viewer", "operator"] {
        let client = roles.client(role).await;
        assert_eq!(found(&client, 1).await[0].worker, running.name, "{role}");
    }
    denied(admin::workers(&producer), &["$SRV.INFO.taskq-worker"]).await;

    // What waits for the turn of its key is released by the worker.
    let turn = in_turn::enqueue(&producer, "acme").await.unwrap();
    assert_eq!(turn.result().await.unwrap(), "acme");

    // The producer cannot take messages, nor list what it has no use for.
    let says = [
        "taking messages of queue default",
        "`$JS.API.CONSUMER.MSG.NEXT.TASKQ_Q_default.w_normal`",
        "the worker's right to take messages",
        "docs/security.md",
    ];
    denied(Worker::builder(producer.clone()).run(), &says).await;
    // The worker cannot enqueue.
    let says = ["`taskq.work.default.normal.shout.", "the producer's right"];
    let deaf = roles.builder("worker").results(false);
    let deaf = deaf.connect().await.unwrap();
    denied(shout::enqueue(&deaf, "x"), &says).await;
    // Nor hear of outcomes. Which of the two is told, whichever comes first.
    let waited = async { shout::enqueue(&worker, "x").await?.result().await };
    denied(waited, &["the producer's right to"]).await;
    running.drain().await;
}

#[tokio::test]
async fn a_worker_of_the_role_renews_its_leases() {
    let roles = Roles::start();
    let operator = roles.client("operator").await;
    let lease = Duration::from_secs(2);
    let options = InitOptions::new().queues(["default"]).lease(lease);
    admin::init(&operator, options).await.unwrap();
    let holder = Running::start(Worker::builder(roles.client("worker").await)).await;
    let producer = roles.client("producer").await;
    let handle = outlast::enqueue(&producer).await.unwrap();
    until("it runs", || holder.stats.running() == 1).await;
    let other = Running::start(Worker::builder(roles.client("worker").await)).await;
    // Tasks of the other worker tell the time: two leases.
    let started = Instant::now();
    while started.elapsed() < lease * 2 {
        let shouted = shout::enqueue(&producer, "x").await.unwrap();
        shouted.result().await.unwrap();
    }
    LONG.add_permits(1);
    let outcome = handle.outcome().await.unwrap();
    assert_eq!((outcome.attempt, &*outcome.worker), (1, &*holder.name));
    drop(other);
}

#[tokio::test]
async fn an_operator_makes_all_and_others_are_told_to_ask_one() {
    let roles = Roles::start();
    // Before `init` there is nothing, and nobody else can make it.
    let producer = roles.client("producer").await;
    let says = ["the operator's right to make streams", "`taskq init`"];
    denied(shout::enqueue(&producer, "x"), &says).await;
    denied(
        shout::call("x")
            .delay(Duration::from_secs(60))
            .enqueue(&producer),
        &says,
    )
    .await;
    let worker = roles.client("worker").await;
    denied(Worker::builder(worker).run(), &says).await;
    let viewer = roles.client("viewer").await;
    denied(admin::init(&viewer, InitOptions::new()), &says).await;

    let operator = roles.client("operator").await;
    let made = admin::init(&operator, InitOptions::new().queues(["default"])).await;
    let made = made.unwrap();
    assert!(
        made.iter()
            .all(|one| one.action == ProvisionAction::Created)
    );
    shout::enqueue(&producer, "x").await.unwrap();

    // What the operator does besides.
    let id = shout::enqueue(&operator, "y").await.unwrap().id().clone();
    assert_eq!(
        operator.handle::<String>(id).status().await.unwrap(),
        Status::Waiting
    );
    assert_eq!(operator.queues().await.unwrap()[0].pending, 2);
    admin::doctor(&operator).await.unwrap();
}

#[tokio::test]
async fn a_viewer_looks_and_changes_nothing() {
    let roles = prepared().await;
    let producer = roles.client("producer").await;
    let handle = shout::enqueue(&producer, "x").await.unwrap();
    let viewer = roles.client("viewer").await;
    assert_eq!(
        viewer
            .handle::<String>(handle.id().clone())
            .status()
            .await
            .unwrap(),
        Status::Waiting
    );
    let waiting = tokio::spawn({
        let handle = viewer.handle::<String>(handle.id().clone());
        async move { handle.result().await }
    });
    let running = Running::start(Worker::builder(roles.client("worker").await)).await;
    assert_eq!(waiting.await.unwrap().unwrap(), "X");
    assert_eq!(viewer.queues().await.unwrap()[0].queue, "default");
    found(&viewer, 1).await;
    let findings = admin::doctor(&viewer).await.unwrap();
    assert!(
        findings.iter().all(|one| !one.found.contains("may not")),
        "{findings:?}"
    );
    denied(
        shout::call("x").id("x").enqueue(&viewer),
        &["the producer's right to enqueue"],
    )
    .await;
    denied(
        Worker::builder(viewer.clone()).run(),
        &["the worker's right to take messages"],
    )
    .await;
    running.drain().await;
}

/// An operator sets, workers go by it, and nobody else may set.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sets_queues_and_the_roles_go_by_it() {
    let roles = prepared().await;
    let operator = roles.client("operator").await;
    let producer = roles.client("producer").await;
    let _running = Running::start(Worker::builder(roles.client("worker").await)).await;
    queues::update(&operator, "default", "ada", |settings| {
        settings.concurrency = Some(1);
        settings.rate = Some("1000/s".parse().unwrap());
        settings.max_backlog = Some(100);
    })
    .await
    .unwrap();
    for n in 0..5 {
        let handle = shout::enqueue(&producer, n.to_string()).await.unwrap();
        handle.result().await.unwrap();
    }
    queues::pause(&operator, "default", "ada", None)
        .await
        .unwrap();
    tasks::pause(&operator, "once", "ada", None).await.unwrap();
    let waiting = shout::enqueue(&producer, "x").await.unwrap();
    let purged = queues::purge(&operator, "default", "ada", None, false)
        .await
        .unwrap();
    assert_eq!(purged.cancelled, 1);
    assert_eq!(
        waiting.outcome().await.unwrap().state,
        OutcomeState::Cancelled
    );
    queues::resume(&operator, "default", "ada").await.unwrap();
    let aside = once::enqueue(&producer, 1u32).await.unwrap();
    until_scheduled(&aside).await;
    tasks::resume(&operator, "once", "ada").await.unwrap();
    assert_eq!(aside.result().await.unwrap(), 1);
    for role in ["producer", "worker", "viewer"] {
        let client = roles.client(role).await;
        assert_eq!(queues::list(&client).await.unwrap().len(), 1);
        denied(
            queues::pause(&client, "default", "eve", None),
            &["the operator's right to set queues"],
        )
        .await;
    }
}

async fn until_scheduled(handle: &TaskHandle<u32>) {
    let limit = Instant::now() + PATIENCE;
    while handle.status().await.unwrap() != Status::Scheduled {
        assert!(Instant::now() < limit, "it is not put aside");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn core_mode_goes_with_the_same_roles() {
    let roles = Roles::start();
    let client = async |role| {
        let builder = roles.builder(role).mode(taskq::Mode::Core);
        builder.connect().await.unwrap()
    };
    let (producer, worker) = (client("producer").await, client("worker").await);
    let running = Running::start(Worker::builder(worker)).await;
    let handle = shout::enqueue(&producer, "x").await.unwrap();
    assert_eq!(handle.result().await.unwrap(), "X");
    let retried = second_time_lucky::enqueue(&producer).await.unwrap();
    assert_eq!(retried.result().await.unwrap(), 2);
    denied(
        Worker::builder(producer.clone()).run(),
        &["the worker's right to take messages in core mode"],
    )
    .await;
    let viewer = client("viewer").await;
    denied(
        shout::enqueue(&viewer, "x"),
        &["the producer's right to enqueue in core mode"],
    )
    .await;
    running.drain().await;
}

/// A server whose one user may do all but this.
fn all_but(publish: &str, subscribe: &str) -> NatsServerBuilder {
    NatsServer::builder().config(&format!(
        "authorization {{ users: [ {{ user: ada, password: pa55, permissions: {{ publish: {{ \
         deny: [{publish}] }}, subscribe: {{ deny: [{subscribe}] }} }} }} ] }}"
    ))
}

#[tokio::test]
async fn every_missing_right_is_told_at_once() {
    let connect = |server: &NatsServer| {
        Client::builder()
            .url(server.url())
            .user("ada", "pa55")
            .result_timeout(PATIENCE)
    };
    let server = all_but("", "\"_INBOX.>\"").start().unwrap();
    let says = ["_INBOX.", "where answers come to", "TASKQ_INBOX_PREFIX"];
    denied(connect(&server).connect(), &says).await;

    let server = all_but("\"$JS.API.STREAM.MSG.GET.*\"", "").start().unwrap();
    let client = connect(&server).connect().await.unwrap();
    let says = ["$JS.API.STREAM.MSG.GET.TASKQ_DONE", "look up messages"];
    denied(client.handle::<String>("x").status(), &says).await;

    let server = all_but("\"$JS.API.STREAM.NAMES\"", "").start().unwrap();
    let client = connect(&server).connect().await.unwrap();
    denied(client.queues(), &["$JS.API.STREAM.NAMES"]).await;

    let server = all_but("\"taskq.state.lock.>\"", "").start().unwrap();
    let client = connect(&server).connect().await.unwrap();
    denied(once::enqueue(&client, 1u32), &["uniqueness locks"]).await;

    let server = all_but("\"$JS.API.CONSUMER.CREATE.>\"", "")
        .start()
        .unwrap();
    let client = connect(&server).connect().await.unwrap();
    let says = ["CONSUMER.CREATE.TASKQ_Q_default", "`taskq init`"];
    denied(Worker::builder(client).run(), &says).await;

    // Not to hear of outcomes: nothing is sent then that would be waited for
    // in vain, or the wait ends.
    let server = all_but("", "\"taskq.done.>\"").start().unwrap();
    let client = connect(&server).connect().await.unwrap();
    let waited = async {
        let handle = shout::enqueue(&client, "x").await?;
        handle.result().await
    };
    denied(waited, &["taskq.done.", "wait for outcomes"]).await;

    // Who may not ask for the account still works.
    let server = all_but("\"$JS.API.INFO\"", "").start().unwrap();
    let started = Instant::now();
    works(connect(&server)).await;
    assert!(started.elapsed() < AT_ONCE);
}

#[tokio::test]
async fn a_role_has_its_own_environment_and_no_password_is_shown() {
    let roles = prepared().await;
    for role in ROLES {
        let says = [&*format!("refused user `{role}`"), "NATS_PASSWORD"];
        refusal(roles.builder(role).user(role, "pa55-guessed"), &says).await;
    }
}

// --- What `init` does ------------------------------------------------------

#[tokio::test]
async fn init_makes_what_is_missing_and_leaves_limits_to_the_operator() {
    let server = NatsServer::builder().start().unwrap();
    let client = Client::connect(server.url()).await.unwrap();
    let js = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let init = async |options: InitOptions| {
        let done = admin::init(&client, options).await.unwrap();
        let find = |action| {
            let of = done.iter().filter(move |one| one.action == action);
            of.map(|one| one.name.clone()).collect::<Vec<_>>()
        };
        let changes: Vec<String> = done.iter().flat_map(|one| one.changes.clone()).collect();
        (
            find(ProvisionAction::Created),
            find(ProvisionAction::Updated),
            find(ProvisionAction::Unchanged),
            changes,
        )
    };
    let queues = ["default", "email"];
    let would = init(InitOptions::new().queues(queues).dry_run(true)).await;
    let names: Vec<String> = js.stream_names().try_collect().await.unwrap();
    assert!(names.is_empty(), "a dry run makes nothing: {names:?}");
    let made = init(InitOptions::new().queues(queues)).await;
    assert_eq!(would, made);
    let (created, updated, unchanged, _) = made;
    let streams = js.stream_names().try_collect::<Vec<_>>().await.unwrap();
    for name in &streams {
        assert!(created.contains(name), "{name}");
    }
    // Two streams and four consumers for each queue, and the shared streams.
    assert_eq!(created.len(), streams.len() + 8);
    assert!(updated.is_empty() && unchanged.is_empty());
    let again = init(InitOptions::new()).await;
    assert_eq!((again.0.len(), again.1.len()), (0, 0), "{again:?}");
    assert_eq!(again.2.len(), created.len());

    // The operator's own limits, and something that taskq needs.
    let mut config = js.get_stream("TASKQ_DONE").await.unwrap();
    let mut config = config.info().await.unwrap().config.clone();
    config.max_bytes = 5_000_000;
    config.max_age = Duration::from_secs(60);
    config.duplicate_window = Duration::from_secs(30);
    config.allow_direct = false;
    js.update_stream(&config).await.unwrap();
    let (created, updated, _, changes) = init(InitOptions::new()).await;
    assert!(created.is_empty());
    assert_eq!(updated, ["TASKQ_DONE"]);
    assert_eq!(changes, ["allow_direct: none -> true"]);
    let mut stream = js.get_stream("TASKQ_DONE").await.unwrap();
    let now = &stream.info().await.unwrap().config;
    assert!(now.allow_direct);
    assert_eq!(now.max_bytes, 5_000_000);
    assert_eq!(now.max_age, Duration::from_secs(60));

    // A lease is changed when it is asked for, of all queues.
    let lease = Duration::from_secs(9);
    let (_, updated, _, changes) = init(InitOptions::new().lease(lease)).await;
    assert_eq!(updated.len(), 8);
    assert_eq!(changes[0], "ack_wait: 6s -> 9s");

    // A stream of that name that is somebody else's is left alone.
    js.delete_stream("TASKQ_DEAD").await.unwrap();
    js.create_stream(async_nats::jetstream::stream::Config {
        name: "TASKQ_DEAD".to_owned(),
        subjects: vec!["theirs".to_owned()],
        retention: async_nats::jetstream::stream::RetentionPolicy::Interest,
        ..Default::default()
    })
    .await
    .unwrap();
    let error = admin::init(&client, InitOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("not taskq's"), "{error}");
    let other = Client::builder().mode(taskq::Mode::Memory);
    let other = admin::init(&other.connect().await.unwrap(), InitOptions::new()).await;
    assert_eq!(other.unwrap_err().kind(), ErrorKind::Unsupported);
}
