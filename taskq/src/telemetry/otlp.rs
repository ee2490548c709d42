//! Sends spans to a collector by OTLP over HTTP, as the environment says.
//!
//! The names of the variables, and what they do, are [OpenTelemetry's].
//!
//! [OpenTelemetry's]: https://opentelemetry.io/docs/specs/otel/protocol/exporter/

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use ureq::tls::{PemItem, RootCerts, TlsConfig};

/// How long the last spans may take when the program ends.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long a request may take, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says.
const TIMEOUT: Duration = Duration::from_secs(10);

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Sends spans from now on where the environment says; none, if it says
/// nothing.
pub(crate) fn start() -> Option<Result<SdkTracerProvider, String>> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let on = [
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ];
    let is = |name, word: &str| set(name).is_some_and(|value| value.eq_ignore_ascii_case(word));
    if !on.iter().any(|name| set(name).is_some())
        || is("OTEL_SDK_DISABLED", "true")
        || is("OTEL_TRACES_EXPORTER", "none")
    {
        return None;
    }
    let protocol = set("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL");
    let protocol = protocol.or_else(|| set("OTEL_EXPORTER_OTLP_PROTOCOL"));
    if let Some(protocol) = protocol.filter(|protocol| protocol != "http/protobuf") {
        return Some(Err(format!(
            "the OTLP protocol `{protocol}` is none that this program speaks; set \
             OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, and the port for it, which is 4318 in most \
             collectors"
        )));
    }
    Some(
        provider(set("OTEL_EXPORTER_OTLP_CERTIFICATE")).inspect(|provider| {
            opentelemetry::global::set_tracer_provider(provider.clone());
            super::trace();
            // There is one.
            let _ = PROVIDER.set(provider.clone());
        }),
    )
}

fn provider(certificates: Option<String>) -> Result<SdkTracerProvider, String> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Http::new(certificates)?)
        .build()
        .map_err(|error| format!("spans cannot be sent: {error}"))?;
    let mut resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none()
        && !std::env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|it| it.contains("service.name="))
        && let Ok(program) = std::env::current_exe()
        && let Some(name) = program.file_stem()
    {
        resource = resource.with_service_name(name.to_string_lossy().into_owned());
    }
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.build())
        .build())
}

/// Sends the spans that are not sent yet, and then no more. For the end of a
/// program: what it did last is worth most.
pub fn end() {
    if let Some(provider) = PROVIDER.get()
        && let Err(error) = provider.shutdown_with_timeout(LAST_WORDS)
    {
        tracing::warn!("the last spans could not be sent: {error}");
    }
}

/// Requests from the exporter's own thread, which may block.
#[derive(Debug)]
struct Http(ureq::Agent);

impl Http {
    /// Trusts the certificates of this file, if there is one.
    fn new(certificates: Option<String>) -> Result<Self, String> {
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(timeout()));
        if let Some(path) = certificates {
            let cannot = |error: &dyn std::fmt::Display| {
                format!("OTEL_EXPORTER_OTLP_CERTIFICATE: {path} cannot be read: {error}")
            };
            let pem = std::fs::read(&path).map_err(|error| cannot(&error))?;
            let mut trusted = Vec::new();
            for item in ureq::tls::parse_pem(&pem) {
                if let PemItem::Certificate(certificate) = item.map_err(|error| cannot(&error))? {
                    trusted.push(certificate);
                }
            }
            let roots = RootCerts::new_with_certs(&trusted);
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        Ok(Self(config.build().new_agent()))
    }
}

fn timeout() -> Duration {
    let set = std::env::var("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")
        .or_else(|_| std::env::var("OTEL_EXPORTER_OTLP_TIMEOUT"));
    let millis = set.ok().and_then(|millis| millis.parse().ok());
    millis.map_or(TIMEOUT, Duration::from_millis)
}

#[async_trait::async_trait]
impl HttpClient for Http {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let request = ureq::http::Request::from_parts(parts, body.to_vec());
        let mut response = self.0.run(request)?;
        let body = response.body_mut().read_to_vec()?;
        let (parts, _) = response.into_parts();
        Ok(Response::from_parts(parts, Bytes::from(body)))
    }
}
