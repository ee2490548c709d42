//! Core mode keeps nothing, so only the worker that has a task knows of it.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::Core;
use crate::broker::standing::{Answering, Finder, Holder, Locate, Standing};
use crate::broker::{Place, Task, asking};
use crate::error::Result;
use crate::message::TaskId;
use crate::time::Timestamp;

impl Locate for Arc<Core> {
    fn standing<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Standing>> {
        Box::pin(async move {
            Ok(match self.holder(id).await? {
                None => Standing::Unknown,
                Some(_) => Standing::Given {
                    task: Task {
                        id: id.clone(),
                        queue: String::new(),
                        body: Vec::new(),
                        stored_at: Timestamp::now(),
                        place: Place::Memory,
                    },
                    lease: Duration::MAX,
                },
            })
        })
    }

    fn holder<'a>(&'a self, id: &'a TaskId) -> BoxFuture<'a, Result<Option<Holder>>> {
        Box::pin(asking::ask(&self.client, &self.names, id))
    }

    fn answer(&self, finder: Finder) -> BoxFuture<'_, Result<Answering>> {
        Box::pin(asking::answer(self.client.clone(), &self.names, finder))
    }
}
