//! Where a task panicked: told by the panic hook, the only one that knows.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::sync::Once;

use crate::task::{Job, JobKind, TaskError};

thread_local! {
    /// The place of this thread's last panic.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Whether this thread runs what nobody is to read: the text of a panic is
    /// not written to the standard error then.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Notes the place of every panic of this process from now on, and does what
/// was done before.
pub(super) fn note_places() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let place = panic.location().map(|place| format!("at {place}"));
            let backtrace = Backtrace::capture();
            let text = match (place, backtrace.status()) {
                (place, BacktraceStatus::Captured) => {
                    Some(format!("{}\n{backtrace}", place.unwrap_or_default()))
                }
                (place, _) => place,
            };
            // A panic while this thread's own storage goes has no place.
            let _ = PLACE.try_with(|last| last.replace(text));
            if !QUIET.try_with(Cell::get).unwrap_or(false) {
                before(panic);
            }
        }));
    });
}

/// Does something whose panics are not written to the standard error.
pub(super) fn quietly<T>(work: impl FnOnce() -> T) -> T {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            QUIET.set(self.0);
        }
    }
    let _before = Before(QUIET.replace(true));
    work()
}

/// A job whose panics are not written to the standard error.
pub(super) fn quiet(job: Job) -> Job {
    Job(match job.0 {
        JobKind::Future(mut future) => {
            JobKind::Future(Box::pin(std::future::poll_fn(move |context| {
                quietly(|| future.as_mut().poll(context))
            })))
        }
        JobKind::Blocking(function) => JobKind::Blocking(Box::new(|| quietly(function))),
    })
}

/// The error of a panic that was caught on this thread just now.
pub(super) fn caught(panic: &(dyn Any + Send)) -> TaskError {
    let place = PLACE.try_with(RefCell::take).ok().flatten();
    TaskError::panicked(text(panic), place)
}

fn text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with a value that is no text")
}
