//! Where a task panicked: told by the panic hook, the only one that knows.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::sync::Once;

use crate::task::TaskError;

thread_local! {
    /// The place of this thread's last panic.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
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
            before(panic);
        }));
    });
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
