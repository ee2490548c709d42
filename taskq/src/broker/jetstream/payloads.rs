//! Payloads that are too large for a message: claim checks in the object
//! store.

use async_nats::jetstream::object_store::{self, ObjectStore};
use bytes::Bytes;
use tokio::io::AsyncReadExt as _;

use super::JetStream;
use crate::broker::names::api;
use crate::error::{BoxError, Error, ErrorKind, Result};

impl JetStream {
    /// The store of arguments, or of returned values.
    fn bucket_of(&self, name: &str) -> String {
        if name.starts_with("value.") {
            self.layout.names.results()
        } else {
            self.layout.names.payloads()
        }
    }

    async fn bucket(&self, name: &str, create: bool) -> Result<Option<ObjectStore>> {
        let bucket = self.bucket_of(name);
        match self.layout.js.get_object_store(&bucket).await {
            Ok(store) => return Ok(Some(store)),
            Err(_) if !create => return Ok(None),
            Err(_) => {}
        }
        self.layout.ensure_buckets().await?;
        let store = self.layout.js.get_object_store(&bucket).await;
        store
            .map(Some)
            .map_err(|error| failed("making the object store for", name, error.into()))
    }

    /// Fails at once when the server refuses a part of it.
    async fn may<T>(
        &self,
        doing: &str,
        name: &str,
        operation: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let subjects = api::of_object_store(&self.bucket_of(name));
        let subjects: Vec<&str> = subjects.iter().map(String::as_str).collect();
        self.denials
            .or_denied(&subjects, operation)
            .await
            .map_err(|denial| denial.into_error(&format!("{doing} payload {name}")))?
    }

    pub(super) async fn store_payload(&self, name: &str, payload: Bytes) -> Result<()> {
        let storing = async {
            let Some(store) = self.bucket(name, true).await? else {
                return Ok(());
            };
            store
                .put(name, &mut &payload[..])
                .await
                .map(drop)
                .map_err(|error| failed("storing", name, error.into()))
        };
        self.may("storing", name, storing).await
    }

    pub(super) async fn load_payload(&self, name: &str) -> Result<Option<Bytes>> {
        let loading = async {
            let Some(store) = self.bucket(name, false).await? else {
                return Ok(None);
            };
            let mut object = match store.get(name).await {
                Ok(object) => object,
                Err(error) if error.kind() == object_store::GetErrorKind::NotFound => {
                    return Ok(None);
                }
                Err(error) => return Err(failed("loading", name, error.into())),
            };
            let mut payload = Vec::with_capacity(object.info().size);
            object
                .read_to_end(&mut payload)
                .await
                .map_err(|error| failed("loading", name, error.into()))?;
            Ok(Some(payload.into()))
        };
        self.may("loading", name, loading).await
    }

    pub(super) async fn delete_payload(&self, name: &str) -> Result<()> {
        let deleting = async {
            let Some(store) = self.bucket(name, false).await? else {
                return Ok(());
            };
            match store.delete(name).await {
                Ok(()) => Ok(()),
                Err(error) if error.kind() == object_store::DeleteErrorKind::NotFound => Ok(()),
                Err(error) => Err(failed("removing", name, error.into())),
            }
        };
        self.may("removing", name, deleting).await
    }
}

fn failed(doing: &str, name: &str, error: BoxError) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("{doing} payload {name} failed: {error}"),
    )
    .with_source(error)
}
