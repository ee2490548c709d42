//! What a program logs, and how.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// What to log, and how. Logs go to stderr; stdout is for results.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Log")]
pub struct LogArgs {
    /// What to log: error, warn, info, debug, trace, or by part: `warn,taskq::task=info`
    #[arg(
        long,
        env = "TASKQ_LOG",
        value_name = "FILTER",
        default_value = "info",
        value_parser = check_filter
    )]
    pub log: String,

    /// How to write logs
    #[arg(
        long,
        env = "TASKQ_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t = LogFormat::Text
    )]
    pub log_format: LogFormat,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A line that a person reads.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The format in one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl LogArgs {
    /// async-nats logs, at `info`, what this library logs in its own words;
    /// and why it cannot connect, which this library's error tells.
    fn filter(&self) -> String {
        if ["async_nats", "debug", "trace"]
            .iter()
            .any(|part| self.log.contains(part))
        {
            return self.log.clone();
        }
        format!(
            "async_nats=warn,async_nats::connector=off,async_nats::options=off,{}",
            self.log
        )
    }

    /// Starts to log; and to send traces, with the feature `otlp`, where
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` is set. Does nothing in a program that logs
    /// already.
    ///
    /// A program that sends traces ends with `taskq::telemetry::end_traces`.
    pub fn init(&self) {
        // The filter was checked when the flags were read.
        let filter = EnvFilter::try_new(self.filter()).unwrap_or_else(|_| EnvFilter::new("info"));
        #[cfg(feature = "otlp")]
        if self.init_traced() {
            return;
        }
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr);
        let _ = match self.log_format {
            LogFormat::Text => subscriber
                .with_ansi(std::io::stderr().is_terminal() && no_color_is_unset())
                .try_init(),
            LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
        };
    }
}

#[cfg(feature = "otlp")]
impl LogArgs {
    /// Starts to log and to send traces, if they are wanted. The spans of the
    /// program itself, made with `tracing`, are sent with taskq's.
    fn init_traced(&self) -> bool {
        use opentelemetry::trace::TracerProvider as _;
        use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
        use tracing_subscriber::util::SubscriberInitExt as _;

        use crate::telemetry::{SPAN_TARGET, start_traces};

        let Some(started) = start_traces() else {
            return false;
        };
        let filter = EnvFilter::try_new(self.filter()).unwrap_or_else(|_| EnvFilter::new("info"));
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let log = match self.log_format {
            LogFormat::Text => log
                .with_ansi(std::io::stderr().is_terminal() && no_color_is_unset())
                .boxed(),
            LogFormat::Json => log.json().flatten_event(true).boxed(),
        };
        let spans = started.as_ref().ok().map(|provider| {
            let tracer = provider.tracer("taskq");
            let own = tracing_subscriber::filter::filter_fn(|it| it.target() != SPAN_TARGET);
            tracing_opentelemetry::layer()
                .with_tracer(tracer)
                .with_filter(own)
        });
        let subscriber = tracing_subscriber::registry()
            .with(filter)
            .with(spans)
            .with(log);
        let _ = subscriber.try_init();
        if let Err(why) = started {
            tracing::error!("no traces are sent: {why}");
        }
        true
    }
}

/// <https://no-color.org>
fn no_color_is_unset() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn check_filter(text: &str) -> Result<String, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(text).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_none_is_refused() {
        assert!(check_filter("warn,taskq::task=info").is_ok());
        assert!(check_filter("taskq=loud").is_err());
    }
}
