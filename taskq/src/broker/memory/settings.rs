//! Settings in memory.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, ready};
use tokio::sync::{broadcast, mpsc};

use super::Memory;
use crate::broker::{Setting, SettingKind, Settings};
use crate::error::Result;

impl Settings for Arc<Memory> {
    fn setting<'a>(&'a self, kind: SettingKind, name: &'a str) -> BoxFuture<'a, Result<Setting>> {
        let key = (kind.as_str(), name.to_owned());
        let found = self.store().settings.get(&key).cloned();
        let setting = found.unwrap_or_else(|| Setting {
            name: name.to_owned(),
            ..Setting::default()
        });
        ready(Ok(setting)).boxed()
    }

    fn settings(&self, kind: SettingKind) -> BoxFuture<'_, Result<Vec<Setting>>> {
        let store = self.store();
        let of_kind = store
            .settings
            .iter()
            .filter(|((of, _), setting)| *of == kind.as_str() && setting.body.is_some());
        let settings = of_kind.map(|(_, setting)| setting.clone()).collect();
        drop(store);
        ready(Ok(settings)).boxed()
    }

    fn set<'a>(
        &'a self,
        kind: SettingKind,
        name: &'a str,
        body: Option<Bytes>,
        expected: u64,
    ) -> BoxFuture<'a, Result<bool>> {
        let key = (kind.as_str(), name.to_owned());
        let mut store = self.store();
        let revision = store.settings.get(&key).map_or(0, |it| it.revision);
        let is_expected = revision == expected;
        if is_expected {
            store.settings_count += 1;
            let setting = Setting {
                name: name.to_owned(),
                revision: store.settings_count,
                body,
            };
            store.rules.take(kind, &setting);
            store.tell_rules();
            store.settings.insert(key, setting);
        }
        drop(store);
        self.changed.notify_waiters();
        // Nobody listening is fine.
        let _ = self.set.send(());
        ready(Ok(is_expected)).boxed()
    }

    fn setting_changes(&self) -> BoxFuture<'_, Result<mpsc::Receiver<()>>> {
        let mut changes = self.set.subscribe();
        let (tell, told) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    change = changes.recv() => {
                        if matches!(change, Err(broadcast::error::RecvError::Closed)) {
                            return;
                        }
                    }
                    () = tell.closed() => return,
                }
                let _ = tell.try_send(());
            }
        });
        ready(Ok(told)).boxed()
    }
}
