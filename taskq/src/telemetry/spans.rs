//! Spans of what is sent and run, by OpenTelemetry's [conventions for
//! messaging], as far as they go; names of spans have the task where those
//! have the queue, since it is what people look for.
//!
//! The trace is in the message ([`labels::TRACEPARENT`]), and so in each of
//! its attempts, wherever it runs:
//!
//! ```text
//! publish send_email            the process that sends
//! ├─ wait send_email            the worker, from enqueued or due to its start
//! ├─ process send_email         the worker: attempt 1
//! ├─ wait send_email
//! └─ process send_email         maybe another worker: attempt 2
//! ```
//!
//! [conventions for messaging]: https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/

use std::sync::OnceLock;

use opentelemetry::global::{BoxedSpan, BoxedTracer};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue};

use crate::error::Error;
use crate::message::{Label, Labels, TaskId, Traceparent, labels};

/// The target of the spans that name a task in the lines that it logs. They
/// are for these alone: the attempt has a span of OpenTelemetry's.
pub(crate) const SPAN_TARGET: &str = "taskq::attempt";

/// Whom spans are told to, if anybody wants them.
static TRACER: OnceLock<BoxedTracer> = OnceLock::new();

/// Begins to tell spans to the program's own tracer provider, which is set by
/// `opentelemetry::global::set_tracer_provider` before. `taskq::cli::LogArgs`
/// does all of it where `OTEL_EXPORTER_OTLP_ENDPOINT` is set.
pub fn trace() {
    TRACER.get_or_init(|| {
        let scope = opentelemetry::InstrumentationScope::builder("taskq");
        let scope = scope.with_version(env!("CARGO_PKG_VERSION")).build();
        opentelemetry::global::tracer_with_scope(scope)
    });
}

/// Whether spans are told.
#[must_use]
pub fn is_tracing() -> bool {
    TRACER.get().is_some()
}

/// The context that a message came with.
fn parent_of(labels: &Labels) -> Option<Context> {
    let parent = Traceparent::of(labels)?;
    let state = labels.get(labels::TRACESTATE).and_then(Label::as_str);
    remote(&parent, state)
}

fn remote(parent: &Traceparent<'_>, state: Option<&str>) -> Option<Context> {
    let flags = u8::from_str_radix(parent.flags, 16).ok()?;
    let context = SpanContext::new(
        TraceId::from_hex(parent.trace_id).ok()?,
        SpanId::from_hex(parent.span_id).ok()?,
        TraceFlags::new(flags),
        true,
        state
            .and_then(|state| state.parse().ok())
            .unwrap_or_default(),
    );
    Some(Context::new().with_remote_span_context(context))
}

/// Puts a span in a message, as its parent from now on.
fn put(context: &SpanContext, labels: &mut Labels) {
    let text = format!(
        "00-{}-{}-{:02x}",
        context.trace_id(),
        context.span_id(),
        context.trace_flags().to_u8()
    );
    labels.set(labels::TRACEPARENT, text);
    let state: &TraceState = context.trace_state();
    let state = state.header();
    if state.is_empty() {
        labels.remove(labels::TRACESTATE);
    } else {
        labels.set(labels::TRACESTATE, state);
    }
}

fn attributes(operation: [&'static str; 2], task: &str, queue: &str, id: &TaskId) -> Vec<KeyValue> {
    let [kind, name] = operation;
    vec![
        KeyValue::new("messaging.system", "nats"),
        KeyValue::new("messaging.operation.type", kind),
        KeyValue::new("messaging.operation.name", name),
        KeyValue::new("messaging.destination.name", queue.to_owned()),
        KeyValue::new("messaging.message.id", id.to_string()),
        KeyValue::new("taskq.task.name", task.to_owned()),
    ]
}

/// A call that is being sent.
#[derive(Debug)]
pub(crate) struct Sending(Box<BoxedSpan>);

impl Sending {
    /// Begins the span of a call, a child of what the program is doing, else
    /// of what the call came with; and puts it in its labels.
    pub(crate) fn start(task: &str, queue: &str, id: &TaskId, labels: &mut Labels) -> Option<Self> {
        let tracer = TRACER.get()?;
        let mut parent = Context::current();
        if !parent.span().span_context().is_valid() {
            parent = parent_of(labels).unwrap_or_default();
        }
        let span = tracer
            .span_builder(format!("publish {task}"))
            .with_kind(SpanKind::Producer)
            .with_attributes(attributes(["send", "publish"], task, queue, id))
            .start_with_context(tracer, &parent);
        put(span.span_context(), labels);
        Some(Self(Box::new(span)))
    }

    /// It was accepted, or not.
    pub(crate) fn end(mut self, size: usize, sent: Result<&TaskId, &Error>) {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let size = KeyValue::new("messaging.message.body.size", size);
        self.0.set_attribute(size);
        if let Err(error) = sent {
            let kind = format!("{:?}", error.kind());
            self.0.set_status(Status::error(kind.clone()));
            self.0.set_attribute(KeyValue::new("error.type", kind));
        }
        self.0.end();
    }
}

#[cfg(feature = "worker")]
pub(crate) use worker::{Beginning, Running};

#[cfg(feature = "worker")]
mod worker {
    use std::time::{Duration, SystemTime};

    use futures::FutureExt as _;
    use opentelemetry::trace::{
        FutureExt as _, Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _,
    };
    use opentelemetry::{Context, KeyValue};
    use tracing::Instrument as _;

    use super::{SPAN_TARGET, TRACER, attributes, parent_of, put};
    use crate::message::{Label, Labels, TaskId, Traceparent, labels};
    use crate::task::{Job, JobKind};
    use crate::time::Timestamp;

    /// What is known of an attempt when it begins.
    pub(crate) struct Beginning<'a> {
        pub(crate) task: &'static str,
        pub(crate) queue: &'a str,
        pub(crate) id: &'a TaskId,
        pub(crate) number: u32,
        pub(crate) worker: &'a str,
        pub(crate) enqueued_at: Timestamp,
        pub(crate) started_at: Timestamp,
    }

    /// An attempt that runs.
    #[derive(Debug)]
    pub(crate) struct Running {
        context: Context,
        /// For the lines that the task logs.
        span: tracing::Span,
        started: SystemTime,
    }

    impl Running {
        /// Begins the span of an attempt, and tells how long it waited. What
        /// came without a trace begins one, which its next attempts are in.
        pub(crate) fn start(beginning: &Beginning<'_>, labels: &mut Labels) -> Option<Self> {
            let tracer = TRACER.get()?;
            let Beginning {
                task,
                queue,
                id,
                number,
                worker,
                enqueued_at,
                started_at,
            } = *beginning;
            let parent = parent_of(labels);
            let started = system_time(started_at);
            let mut known = attributes(["process", "process"], task, queue, id);
            known.push(KeyValue::new("taskq.attempt", i64::from(number)));
            known.push(KeyValue::new("taskq.worker", worker.to_owned()));
            let span = tracer
                .span_builder(format!("process {task}"))
                .with_kind(SpanKind::Consumer)
                .with_start_time(started)
                .with_attributes(known)
                .start_with_context(tracer, &parent.clone().unwrap_or_default());
            let context = Context::new().with_span(span);
            let own = context.span().span_context().clone();
            if parent.is_none() {
                put(&own, labels);
            }
            let since = labels.get(labels::DUE).and_then(Label::as_i64);
            let since = since.map_or(enqueued_at, Timestamp::from_millis);
            let mut wait = tracer
                .span_builder(format!("wait {task}"))
                .with_kind(SpanKind::Internal)
                .with_start_time(system_time(since.min(started_at)))
                .with_attributes(attributes(["receive", "wait"], task, queue, id))
                .start_with_context(tracer, &parent.unwrap_or_else(|| context.clone()));
            wait.end_with_timestamp(started);
            let trace_id = Traceparent::of(labels).map(|parent| parent.trace_id);
            let span = tracing::info_span!(
                target: SPAN_TARGET,
                "task",
                task_id = %id,
                task,
                attempt = number,
                trace_id,
            );
            Some(Self {
                context,
                span,
                started,
            })
        }

        /// The job, so that what the task does is within its span.
        pub(crate) fn around(&self, job: Job) -> Job {
            let (context, span) = (self.context.clone(), self.span.clone());
            Job(match job.0 {
                JobKind::Future(future) => {
                    JobKind::Future(future.with_context(context).instrument(span).boxed())
                }
                JobKind::Blocking(function) => JobKind::Blocking(Box::new(move || {
                    let _context = context.attach();
                    span.in_scope(function)
                })),
            })
        }

        /// The attempt is over after so long; with what kind of failure, if it
        /// has failed. Its text is not told: it may be nobody's business.
        pub(crate) fn end(self, ran: Duration, failure: Option<&str>) {
            let span = self.context.span();
            if let Some(kind) = failure {
                span.set_attribute(KeyValue::new("error.type", kind.to_owned()));
                span.set_status(Status::error(kind.to_owned()));
            }
            span.end_with_timestamp(self.started + ran);
        }
    }

    fn system_time(time: Timestamp) -> SystemTime {
        let millis = u64::try_from(time.as_millis()).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }
}

/// A request that a server answers: what is sent meanwhile is a part of its
/// trace.
#[derive(Debug)]
pub struct Serving(Context);

impl Serving {
    /// Begins the span of a request, a child of its `traceparent`. None while
    /// nobody wants spans.
    #[must_use]
    pub fn start(
        name: String,
        traceparent: Option<&str>,
        tracestate: Option<&str>,
        attributes: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Option<Self> {
        let tracer = TRACER.get()?;
        let parent = traceparent.and_then(Traceparent::parse);
        let parent = parent.and_then(|parent| remote(&parent, tracestate));
        let attributes = attributes.into_iter();
        let span = tracer
            .span_builder(name)
            .with_kind(SpanKind::Server)
            .with_attributes(attributes.map(|(name, value)| KeyValue::new(name, value)))
            .start_with_context(tracer, &parent.unwrap_or_default());
        Some(Self(Context::new().with_span(span)))
    }

    /// Does what answers the request, within its span, and ends it. `status`
    /// reads the answer's HTTP status.
    pub async fn around<F: Future>(self, answer: F, status: fn(&F::Output) -> u16) -> F::Output {
        let answered = opentelemetry::trace::FutureExt::with_context(answer, self.0.clone()).await;
        let (span, status) = (self.0.span(), status(&answered));
        span.set_attribute(KeyValue::new(
            "http.response.status_code",
            i64::from(status),
        ));
        if status >= 500 {
            span.set_attribute(KeyValue::new("error.type", status.to_string()));
            span.set_status(Status::error(""));
        }
        span.end();
        answered
    }
}
