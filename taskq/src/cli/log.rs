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

    /// Starts to log. Does nothing in a program that logs already.
    pub fn init(&self) {
        // The filter was checked when the flags were read.
        let filter = EnvFilter::try_new(self.filter()).unwrap_or_else(|_| EnvFilter::new("info"));
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
