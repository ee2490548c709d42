//! Being told to stop.

/// Waits until the process is told to stop: SIGTERM or Ctrl-C (SIGINT).
/// From the first poll on, neither ends the process by itself.
///
/// `Worker::run` does this for itself; it is for programs that
/// only send.
pub async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut term), Ok(mut int)) = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        ) else {
            tracing::warn!("cannot listen for signals; stop the program by SIGKILL");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    }
    #[cfg(not(unix))]
    if tokio::signal::ctrl_c().await.is_err() {
        tracing::warn!("cannot listen for Ctrl-C");
        std::future::pending::<()>().await;
    }
}
