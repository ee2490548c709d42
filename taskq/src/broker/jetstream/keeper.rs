//! The lease thread's own connection.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::broker::LeaseKeeper;
use crate::broker::connect::{ConnectOptions, Connection};
use crate::error::{Error, ErrorKind, Result};

pub(super) struct Keeper {
    options: ConnectOptions,
    connection: Option<Connection>,
}

impl Keeper {
    pub(super) fn new(mut options: ConnectOptions) -> Self {
        options.name.push_str("-lease");
        Self {
            options,
            connection: None,
        }
    }
}

impl LeaseKeeper for Keeper {
    fn connect(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            if self.connection.is_none() {
                self.connection = Some(self.options.connect().await?);
            }
            Ok(())
        })
    }

    fn renew(&mut self, addresses: Vec<Arc<str>>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            self.connect().await?;
            let Some(connection) = &self.connection else {
                return Ok(());
            };
            let closed = |error| {
                Error::new(ErrorKind::Closed, "the lease connection is closed").with_source(error)
            };
            for address in addresses {
                connection
                    .client
                    .publish(address.to_string(), "+WPI".into())
                    .await
                    .map_err(|error| closed(Box::new(error) as crate::error::BoxError))?;
            }
            connection
                .client
                .flush()
                .await
                .map_err(|error| closed(Box::new(error) as crate::error::BoxError))
        })
    }
}
