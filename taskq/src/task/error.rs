//! How a task says that it failed.

use std::fmt;
use std::time::Duration;

use crate::error::BoxError;
use crate::failure::{Failure, FailureKind, shortened};

/// The error of a task, and whether to try again.
///
/// Any error converts into one and follows the task's retry policy:
/// `std::error::Error`s, `anyhow::Error`, text. The two constructors steer
/// the retry:
///
/// ```
/// use taskq::prelude::*;
///
/// #[task(retries = 5)]
/// async fn fetch(url: String) -> Result<String, TaskError> {
///     if url.is_empty() {
///         return Err(TaskError::permanent("the address is empty"));
///     }
///     let answer = Err("429 Too Many Requests");
///     answer.map_err(|error| TaskError::retry_after(30.seconds(), error))
/// }
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// assert!(fetch(String::new()).await.unwrap_err().is_permanent());
/// # }
/// ```
pub struct TaskError {
    kind: FailureKind,
    advice: RetryAdvice,
    type_name: &'static str,
    source: BoxError,
    /// Where a panic happened.
    backtrace: Option<String>,
}

/// What the error asks for; the policy decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryAdvice {
    /// As the task's policy says.
    Policy,
    /// After this long, if the policy has retries left.
    After(Duration),
    /// Not at all.
    Never,
}

impl TaskError {
    /// An error that another attempt would not mend: the task fails now,
    /// whatever retries it has left.
    #[must_use]
    pub fn permanent(error: impl Into<Self>) -> Self {
        Self {
            advice: RetryAdvice::Never,
            ..error.into()
        }
    }

    /// An error that another attempt after `delay` may mend; it takes the
    /// place of the backoff and counts as a retry.
    #[must_use]
    pub fn retry_after(delay: Duration, error: impl Into<Self>) -> Self {
        Self {
            advice: RetryAdvice::After(delay),
            ..error.into()
        }
    }

    pub(crate) fn of_kind(kind: FailureKind, message: String) -> Self {
        let advice = match kind {
            FailureKind::Error
            | FailureKind::Panic
            | FailureKind::Timeout
            | FailureKind::Deadline => RetryAdvice::Policy,
            _ => RetryAdvice::Never,
        };
        Self {
            kind,
            advice,
            type_name: "",
            source: message.into(),
            backtrace: None,
        }
    }

    /// A panic, with what was captured of its place.
    #[cfg(feature = "worker")]
    pub(crate) fn panicked(text: &str, backtrace: Option<String>) -> Self {
        Self {
            backtrace,
            ..Self::of_kind(FailureKind::Panic, format!("the task panicked: {text}"))
        }
    }

    /// Whether it was made by [`TaskError::permanent`].
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.advice == RetryAdvice::Never
    }

    /// How long it asks to wait before another attempt, if it was made by
    /// [`TaskError::retry_after`].
    ///
    /// ```
    /// use taskq::prelude::*;
    ///
    /// let busy = TaskError::retry_after(30.seconds(), "the bank is busy");
    /// assert_eq!(busy.asked_wait(), Some(30.seconds()));
    /// assert_eq!(TaskError::from("the bank is closed").asked_wait(), None);
    /// ```
    #[must_use]
    pub fn asked_wait(&self) -> Option<Duration> {
        match self.advice {
            RetryAdvice::After(wait) => Some(wait),
            _ => None,
        }
    }

    /// In which way the task failed.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The error itself.
    #[must_use]
    pub fn source(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        &*self.source
    }

    /// The error itself, if it is an `E`: what the task returned, before it
    /// became a `TaskError`. For a cause of it, follow
    /// [`source`](Self::source).
    ///
    /// An `anyhow::Error` hides what it was made of; a task whose errors are
    /// told apart returns them as they are.
    ///
    /// ```
    /// use std::io;
    /// use taskq::TaskError;
    ///
    /// let error = TaskError::from(io::Error::from(io::ErrorKind::NotFound));
    /// let found = error.downcast_ref::<io::Error>().map(io::Error::kind);
    /// assert_eq!(found, Some(io::ErrorKind::NotFound));
    ///
    /// // A text is of no type that a program can name.
    /// assert!(TaskError::from("not found").downcast_ref::<io::Error>().is_none());
    /// ```
    #[must_use]
    pub fn downcast_ref<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.source.downcast_ref()
    }

    pub(crate) fn advice(&self) -> RetryAdvice {
        self.advice
    }

    /// What is recorded of it.
    pub(crate) fn failure(&self) -> Failure {
        Failure {
            kind: self.kind,
            type_name: self.type_name.to_owned(),
            message: shortened(self.to_string()),
            backtrace: self.backtrace.clone().or_else(|| self.own_backtrace()),
        }
    }

    /// The backtrace that the error itself carries. There is no stable way
    /// to ask for it; `anyhow` and `eyre` print it after a heading.
    fn own_backtrace(&self) -> Option<String> {
        // Printing costs; and without the variable nobody captures one.
        std::env::var_os("RUST_BACKTRACE").filter(|value| value != "0")?;
        let text = format!("{:?}", self.source);
        let place = text
            .find("Stack backtrace:")
            .or_else(|| text.find("BACKTRACE"))?;
        Some(text[place..].to_owned())
    }
}

impl<E: Into<BoxError>> From<E> for TaskError {
    fn from(error: E) -> Self {
        Self {
            kind: FailureKind::Error,
            advice: RetryAdvice::Policy,
            type_name: std::any::type_name::<E>(),
            source: error.into(),
            backtrace: None,
        }
    }
}

impl fmt::Display for TaskError {
    /// The error and its causes, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = self.source.to_string();
        f.write_str(&told)?;
        let mut cause = self.source.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Many errors already repeat their cause.
            if !told.contains(&text) {
                write!(f, ": {text}")?;
                told = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskError")
            .field("kind", &self.kind)
            .field("advice", &self.advice)
            .field("type", &self.type_name)
            .field("error", &self.source)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::io::Error);
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot send")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn an_error_is_recorded_with_its_type_and_causes() {
        let error = TaskError::from(Outer(std::io::Error::other("no route")));
        let failure = error.failure();
        assert_eq!(failure.message, "cannot send: no route");
        assert!(failure.type_name.ends_with("Outer"), "{failure:?}");
        assert_eq!(failure.kind, FailureKind::Error);
    }

    #[test]
    fn an_error_keeps_its_type() {
        let error = TaskError::from(Outer(std::io::Error::other("no route")));
        let error = TaskError::retry_after(Duration::from_secs(3), error);
        assert!(error.downcast_ref::<Outer>().is_some());
        assert!(error.downcast_ref::<std::io::Error>().is_none());
        let cause = error.source().source().unwrap();
        assert!(cause.is::<std::io::Error>());
        // As `downcast_ref` says of it.
        let error = TaskError::from(anyhow::Error::new(std::io::Error::other("no route")));
        assert!(error.downcast_ref::<std::io::Error>().is_none());
    }

    #[test]
    fn steering_the_retry_keeps_the_error() {
        let error = TaskError::retry_after(Duration::from_secs(3), "busy");
        assert_eq!(error.advice(), RetryAdvice::After(Duration::from_secs(3)));
        let error = TaskError::permanent(error);
        assert!(error.is_permanent());
        assert_eq!(error.to_string(), "busy");
    }
}
