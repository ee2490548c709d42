//! Renewing leases, from a thread that a blocked runtime cannot stop.

use std::sync::Arc;
use std::sync::mpsc::{Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::broker::{LeaseKeeper, Leases};

/// Renews what is held until it is dropped.
pub(super) struct Keeping {
    _stop: Sender<()>,
}

/// Starts the thread. It tells of the leases that it could not keep.
pub(super) fn keep(
    leases: Arc<Leases>,
    mut keeper: Box<dyn LeaseKeeper>,
    lost: UnboundedSender<Vec<u64>>,
) -> Keeping {
    let (stop, stopped) = channel::<()>();
    let work = move || {
        let runtime = match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime,
            Err(error) => return cannot_renew(&error),
        };
        let every = (leases.term() / 12).max(Duration::from_millis(50));
        // Connected ahead, so that the first renewal is not late.
        if let Err(error) = runtime.block_on(keeper.connect()) {
            tracing::warn!("the lease connection is not there yet: {error}");
        }
        loop {
            // The runtime turns meanwhile: the connection must answer pings.
            runtime.block_on(async { tokio::time::sleep(every).await });
            match stopped.try_recv() {
                Ok(()) | Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {}
            }
            let now = Instant::now();
            // First, so that a thread which was frozen renews nothing that
            // is another's by now.
            let gone = leases.take_lost(now);
            if !gone.is_empty() {
                // The worker may be gone too.
                let _ = lost.send(gone);
            }
            let due = leases.take_due(now);
            if due.is_empty() {
                // Nothing may be left to renew; then this shows when it is
                // possible again.
                if leases.is_failing() {
                    let answered = runtime.block_on(async {
                        tokio::time::timeout(leases.term() / 4, keeper.probe()).await
                    });
                    if let Ok(Ok(())) = answered {
                        tracing::info!("leases can be renewed again; taking messages");
                        leases.set_failing(false);
                    }
                }
                continue;
            }
            let (keys, addresses): (Vec<u64>, Vec<Arc<str>>) = due.into_iter().unzip();
            let renewed = runtime.block_on(async {
                tokio::time::timeout(leases.term() / 4, keeper.renew(addresses)).await
            });
            match renewed {
                Ok(Ok(())) => {
                    leases.confirm(keys, now);
                    leases.set_failing(false);
                    continue;
                }
                Ok(Err(error)) => tracing::warn!("leases cannot be renewed now: {error}"),
                Err(_) => tracing::warn!("leases cannot be renewed now: NATS takes too long"),
            }
            leases.set_failing(true);
            leases.ask_again(keys);
        }
    };
    let started = std::thread::Builder::new()
        .name("taskq-lease".to_owned())
        .spawn(work);
    if let Err(error) = started {
        cannot_renew(&error);
    }
    Keeping { _stop: stop }
}

fn cannot_renew(error: &std::io::Error) {
    tracing::error!(
        "leases cannot be renewed: {error}; tasks longer than a lease are stopped and run again"
    );
}
