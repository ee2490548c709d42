//! The README's first minute.
#![deny(warnings)]
#![allow(unreachable_pub, dead_code)]

use taskq::prelude::*;

#[derive(serde::Serialize, serde::Deserialize)]
struct Email {
    to: String,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Receipt;

struct Mailer;

#[derive(Debug)]
struct SendError;
impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not sent")
    }
}
impl std::error::Error for SendError {}

/// Converts a string to uppercase.
#[task]
async fn to_uppercase(text: String) -> String {
    text.to_uppercase()
}

#[task(
    queue = "email",
    retries = 5,
    backoff = "exponential(1s, max 5m)",
    timeout = "30s"
)]
async fn send_email(
    ctx: Context,
    mailer: State<Mailer>,
    message: Email,
) -> Result<Receipt, SendError> {
    let _ = (ctx, mailer);
    if message.to.is_empty() {
        Err(SendError)
    } else {
        Ok(Receipt)
    }
}

async fn produce(client: Client, email: Email) -> taskq::Result<()> {
    let handle = to_uppercase::enqueue(&client, "hello").await?;
    let _text: String = handle.result().await?;
    let _later = send_email::call(email)
        .delay(10.minutes())
        .unique_for(1.hour())
        .enqueue(&client)
        .await?;
    assert_eq!(to_uppercase("hello".into()).await, "HELLO");
    Ok(())
}

async fn work(client: Client) -> taskq::Result<()> {
    Worker::builder(client)
        .state(Mailer)
        .queues(["default", "email"])
        .concurrency(64)
        .task::<to_uppercase>()
        .run()
        .await
}
