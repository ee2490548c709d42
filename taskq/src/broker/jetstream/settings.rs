//! Settings, one message each in a stream of their own.

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{StreamExt as _, TryStreamExt as _};
use tokio::sync::mpsc;

use super::JetStream;
use super::record::Change;
use crate::broker::names::untoken;
use crate::broker::{Setting, SettingKind, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;

impl Settings for JetStream {
    fn setting<'a>(&'a self, kind: SettingKind, name: &'a str) -> BoxFuture<'a, Result<Setting>> {
        Box::pin(self.read_setting(kind, name))
    }

    fn settings(&self, kind: SettingKind) -> BoxFuture<'_, Result<Vec<Setting>>> {
        Box::pin(self.read_settings(kind))
    }

    fn set<'a>(
        &'a self,
        kind: SettingKind,
        name: &'a str,
        body: Option<Bytes>,
        expected: u64,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(self.write_setting(kind, name, body.unwrap_or_default(), expected))
    }

    fn setting_changes(&self) -> BoxFuture<'_, Result<mpsc::Receiver<()>>> {
        Box::pin(self.listen_to_settings())
    }
}

impl JetStream {
    async fn read_setting(&self, kind: SettingKind, name: &str) -> Result<Setting> {
        let names = &self.layout.names;
        let subject = names.setting(kind, name);
        let stored = self.last(&names.settings_stream(), &subject).await?;
        Ok(match stored {
            None => Setting {
                name: name.to_owned(),
                ..Setting::default()
            },
            Some(stored) => Setting {
                name: name.to_owned(),
                revision: stored.sequence,
                body: (!stored.body.is_empty()).then(|| stored.body.into()),
            },
        })
    }

    async fn read_settings(&self, kind: SettingKind) -> Result<Vec<Setting>> {
        self.layout.ensure_shared().await?;
        let names = &self.layout.names;
        let stored = self.read_past_subjects(
            names.settings_stream(),
            names.settings_of(kind),
            Timestamp::from_millis(0),
        )?;
        let mut settings: Vec<Setting> = stored
            .try_filter_map(|stored| {
                let name = stored.subject.rsplit('.').next().and_then(untoken);
                let setting = name.map(|name| Setting {
                    name,
                    revision: stored.sequence,
                    body: Some(stored.body),
                });
                let is_set =
                    |setting: &Setting| setting.body.as_ref().is_some_and(|it| !it.is_empty());
                std::future::ready(Ok(setting.filter(is_set)))
            })
            .try_collect()
            .await?;
        settings.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(settings)
    }

    async fn write_setting(
        &self,
        kind: SettingKind,
        name: &str,
        body: Bytes,
        expected: u64,
    ) -> Result<bool> {
        self.layout.ensure_shared().await?;
        let subject = self.layout.names.setting(kind, name);
        self.write_record(Change {
            stream: &self.layout.names.settings_stream(),
            subject: &subject,
            body,
            expected,
            live: None,
            what: &format!("setting {} {name}", kind.as_str()),
        })
        .await
    }

    /// A core subscription to the stream's subjects: what is published there
    /// is stored in the next moment. After a lost connection anything may have
    /// been missed.
    async fn listen_to_settings(&self) -> Result<mpsc::Receiver<()>> {
        let subject = self.layout.names.settings_all();
        let mut changes = self.client.subscribe(subject).await.map_err(|error| {
            Error::new(ErrorKind::Closed, "the connection to NATS is closed").with_source(error)
        })?;
        let mut reconnects = self.reconnects.subscribe();
        // One that waits stands for all that come until it is taken.
        let (tell, told) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    change = changes.next() => if change.is_none() { return },
                    changed = reconnects.changed() => if changed.is_err() { return },
                    () = tell.closed() => return,
                }
                let _ = tell.try_send(());
            }
        });
        Ok(told)
    }
}
