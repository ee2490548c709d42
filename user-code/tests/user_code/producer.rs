//! A contract crate and a producer name nothing of the worker.
#![deny(warnings, missing_docs)]
#![allow(unreachable_pub, dead_code)]

/// What may be asked for.
pub mod contracts {
    use taskq::{task, TaskError};

    /// A thumbnail.
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    pub struct Thumb(pub Vec<u8>);

    /// Makes a thumbnail.
    #[task(name = "images.resize", queue = "cpu", retries = 3)]
    pub async fn resize(url: String, width: u32) -> Result<Thumb, TaskError>;
}

async fn produce(client: &taskq::Client) -> taskq::Result<contracts::Thumb> {
    contracts::resize::enqueue(client, "http://..", 80)
        .await?
        .result()
        .await
}
