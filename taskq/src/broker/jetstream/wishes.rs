//! Hearing of wishes to cancel.

use std::sync::Arc;

use futures::StreamExt as _;
use tokio::sync::mpsc;

use super::JetStream;
use crate::broker::Notice;
use crate::error::{Error, ErrorKind, Result};
use crate::message::CancelRequest;

impl JetStream {
    /// Hears wishes as they are stored. One that is missed while there is no
    /// connection is found where it is stored, so that is told too.
    pub(super) async fn listen_to_wishes(&self) -> Result<mpsc::UnboundedReceiver<Notice>> {
        let subject = self.layout.names.cancel_all();
        let mut wishes = self.client.subscribe(subject).await.map_err(|error| {
            Error::new(ErrorKind::Closed, "the connection to NATS is closed").with_source(error)
        })?;
        let mut reconnects = self.reconnects.subscribe();
        let (tell, told) = mpsc::unbounded_channel();
        let broker = Arc::downgrade(&self.me()?);
        tokio::spawn(async move {
            loop {
                let notice = tokio::select! {
                    wish = wishes.next() => match wish {
                        Some(wish) => match CancelRequest::decode(&wish.payload) {
                            Some(request) => Notice::Cancel(request),
                            None => continue,
                        },
                        None => return,
                    },
                    changed = reconnects.changed() => match changed {
                        Ok(()) => Notice::Missed,
                        Err(_) => return,
                    },
                    () = tell.closed() => return,
                };
                if tell.send(notice).is_err() || broker.strong_count() == 0 {
                    return;
                }
            }
        });
        Ok(told)
    }
}
