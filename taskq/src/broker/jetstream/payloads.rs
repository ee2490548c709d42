//! Payloads that are too large for a message: claim checks in the object
//! store.

use std::time::Duration;

use async_nats::jetstream::object_store::{self, ObjectStore};
use async_nats::jetstream::stream::StorageType;
use bytes::Bytes;
use tokio::io::AsyncReadExt as _;

use super::JetStream;
use super::layout::KEEP_OUTCOMES;
use crate::error::{BoxError, Error, ErrorKind, Result};

/// How long the arguments of a call are kept, should nobody remove them:
/// longer than a dead letter.
const KEEP_CALLS: Duration = Duration::from_secs(45 * 24 * 3600);

impl JetStream {
    /// The store of arguments, or of returned values: they are kept for
    /// different times.
    async fn bucket(&self, name: &str, create: bool) -> Result<Option<ObjectStore>> {
        let names = &self.layout.names;
        let (bucket, max_age, description) = if name.starts_with("value.") {
            (
                names.results(),
                KEEP_OUTCOMES,
                "taskq: returned values that are too large for an outcome",
            )
        } else {
            (
                names.payloads(),
                KEEP_CALLS,
                "taskq: arguments that are too large for a message",
            )
        };
        match self.layout.js.get_object_store(&bucket).await {
            Ok(store) => return Ok(Some(store)),
            Err(_) if !create => return Ok(None),
            Err(_) => {}
        }
        let config = object_store::Config {
            bucket,
            description: Some(description.to_owned()),
            max_age,
            storage: StorageType::File,
            num_replicas: self.layout.replicas,
            ..Default::default()
        };
        let created = self.layout.js.create_object_store(config).await;
        created
            .map(Some)
            .map_err(|error| failed("making the object store for", name, error.into()))
    }

    pub(super) async fn store_payload(&self, name: &str, payload: Bytes) -> Result<()> {
        let Some(store) = self.bucket(name, true).await? else {
            return Ok(());
        };
        store
            .put(name, &mut &payload[..])
            .await
            .map(drop)
            .map_err(|error| failed("storing", name, error.into()))
    }

    pub(super) async fn load_payload(&self, name: &str) -> Result<Option<Bytes>> {
        let Some(store) = self.bucket(name, false).await? else {
            return Ok(None);
        };
        let mut object = match store.get(name).await {
            Ok(object) => object,
            Err(error) if error.kind() == object_store::GetErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("loading", name, error.into())),
        };
        let mut payload = Vec::with_capacity(object.info().size);
        object
            .read_to_end(&mut payload)
            .await
            .map_err(|error| failed("loading", name, error.into()))?;
        Ok(Some(payload.into()))
    }

    pub(super) async fn delete_payload(&self, name: &str) -> Result<()> {
        let Some(store) = self.bucket(name, false).await? else {
            return Ok(());
        };
        match store.delete(name).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == object_store::DeleteErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed("removing", name, error.into())),
        }
    }
}

fn failed(doing: &str, name: &str, error: BoxError) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("{doing} payload {name} failed: {error}"),
    )
    .with_source(error)
}
