//! Core mode keeps nothing, so nothing is set there.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, ready};
use tokio::sync::mpsc;

use super::Core;
use crate::broker::{Setting, SettingKind, Settings};
use crate::error::{Error, ErrorKind, Result};

impl Settings for Arc<Core> {
    fn setting<'a>(&'a self, _: SettingKind, name: &'a str) -> BoxFuture<'a, Result<Setting>> {
        ready(Ok(Setting {
            name: name.to_owned(),
            ..Setting::default()
        }))
        .boxed()
    }

    fn settings(&self, _: SettingKind) -> BoxFuture<'_, Result<Vec<Setting>>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn set<'a>(
        &'a self,
        kind: SettingKind,
        name: &'a str,
        _: Option<Bytes>,
        _: u64,
    ) -> BoxFuture<'a, Result<bool>> {
        let error = Error::new(
            ErrorKind::Unsupported,
            format!(
                "setting {} {name} is not possible in core mode, which keeps nothing; use \
                 jetstream mode (TASKQ_MODE=jetstream)",
                kind.as_str()
            ),
        );
        ready(Err(error)).boxed()
    }

    fn setting_changes(&self) -> BoxFuture<'_, Result<mpsc::Receiver<()>>> {
        let (tell, told) = mpsc::channel(1);
        // Never told, and never closed.
        tokio::spawn(async move { tell.closed().await });
        ready(Ok(told)).boxed()
    }
}
