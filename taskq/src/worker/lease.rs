//! Renewing leases, from a thread that a blocked runtime cannot stop.

use std::sync::Arc;
use std::sync::mpsc::{Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use crate::broker::{LeaseKeeper, Leases};

/// Renews what is held until it is dropped.
pub(super) struct Keeping {
    _stop: Sender<()>,
}

/// Starts the thread.
pub(super) fn keep(leases: Arc<Leases>, mut keeper: Box<dyn LeaseKeeper>) -> Keeping {
    let (stop, stopped) = channel::<()>();
    let work = move || {
        let runtime = match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(
                    "leases cannot be renewed: {error}; tasks longer than a lease may run twice"
                );
                return;
            }
        };
        let every = (leases.term() / 12).max(Duration::from_millis(50));
        // Connected ahead, so that the first renewal is not late.
        if let Err(error) = runtime.block_on(keeper.connect()) {
            tracing::warn!("the lease connection is not there yet: {error}");
        }
        let mut due: Vec<Arc<str>> = Vec::new();
        loop {
            // The runtime turns meanwhile: the connection must answer pings.
            runtime.block_on(async { tokio::time::sleep(every).await });
            match stopped.try_recv() {
                Ok(()) | Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {}
            }
            due.extend(leases.take_due(Instant::now()));
            if due.is_empty() {
                continue;
            }
            let renewed = runtime.block_on(async {
                tokio::time::timeout(leases.term() / 3, keeper.renew(due.clone())).await
            });
            match renewed {
                Ok(Ok(())) => due.clear(),
                // Tried again at once with the next ones.
                Ok(Err(error)) => tracing::warn!("leases cannot be renewed now: {error}"),
                Err(_) => tracing::warn!("leases cannot be renewed now: NATS takes too long"),
            }
        }
    };
    let started = std::thread::Builder::new()
        .name("taskq-lease".to_owned())
        .spawn(work);
    if let Err(error) = started {
        tracing::error!(
            "leases cannot be renewed: {error}; tasks longer than a lease may run twice"
        );
    }
    Keeping { _stop: stop }
}
