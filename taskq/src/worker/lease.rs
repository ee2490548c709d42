//! Renewing leases, from a thread that a blocked runtime cannot stop.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
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
    // From here on a turn that does not come tells of a freeze.
    leases.tick(Instant::now());
    let work = move || {
        let runtime = match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime,
            Err(error) => return cannot_renew(&error),
        };
        runtime.block_on(turn(&leases, keeper.as_mut(), &lost, &stopped));
    };
    let started = std::thread::Builder::new()
        .name("taskq-lease".to_owned())
        .spawn(work);
    if let Err(error) = started {
        cannot_renew(&error);
    }
    Keeping { _stop: stop }
}

/// Goes round until it is stopped.
async fn turn(
    leases: &Leases,
    keeper: &mut dyn LeaseKeeper,
    lost: &UnboundedSender<Vec<u64>>,
    stopped: &Receiver<()>,
) {
    let every = (leases.term() / 12).max(Duration::from_millis(50));
    let patience = leases.term() / 4;
    // Looked at also while an answer is waited for: what is lost is lost on
    // time.
    let look = || {
        let now = Instant::now();
        leases.tick(now);
        let gone = leases.take_lost(now);
        if !gone.is_empty() {
            // The worker may be gone too.
            let _ = lost.send(gone);
        }
    };
    // Connected ahead, so that the first renewal is not late.
    match tokio::time::timeout(patience, keeper.connect()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("the lease connection is not there yet: {error}"),
        Err(_) => tracing::warn!("the lease connection is not there yet"),
    }
    loop {
        tokio::time::sleep(every).await;
        match stopped.try_recv() {
            Ok(()) | Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {}
        }
        // First, so that a thread which was frozen renews nothing that is
        // another's by now.
        look();
        let asked = Instant::now();
        let due = leases.take_due(asked);
        if due.is_empty() && !leases.is_failing() {
            continue;
        }
        let (keys, addresses): (Vec<u64>, Vec<Arc<str>>) = due.into_iter().unzip();
        // With nothing left to renew, a word and an answer show when it is
        // possible again.
        let asking = match addresses.is_empty() {
            true => keeper.probe(),
            false => keeper.renew(addresses),
        };
        let mut asking = std::pin::pin!(tokio::time::timeout(patience, asking));
        let answer = loop {
            tokio::select! {
                answer = &mut asking => break answer,
                () = tokio::time::sleep(every) => look(),
            }
        };
        match answer {
            Ok(Ok(())) => {
                leases.confirm(keys, asked);
                if leases.is_failing() {
                    tracing::info!("leases can be renewed again; taking messages");
                    leases.set_failing(false);
                }
                continue;
            }
            Ok(Err(error)) => tracing::warn!("leases cannot be renewed now: {error}"),
            Err(_) => tracing::warn!("leases cannot be renewed now: NATS takes too long"),
        }
        leases.set_failing(true);
        leases.ask_again(keys);
    }
}

fn cannot_renew(error: &std::io::Error) {
    tracing::error!(
        "leases cannot be renewed: {error}; tasks longer than a lease are stopped and run again"
    );
}
