//! Errors as RFC 9457 problems.

use std::collections::BTreeMap;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use taskq::ErrorKind;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response as Described, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::index::IndexError;

/// What went wrong: an RFC 9457 problem.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// The kind of the problem, as an address that is no page.
    #[serde(rename = "type")]
    #[schema(example = "urn:taskq:not_found")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status.
    #[schema(value_type = u16)]
    status: u16,
    /// The kind in one word, which stays as it is between versions.
    #[schema(example = "not_found")]
    code: &'static str,
    /// What failed, why, and what to do.
    detail: String,
    /// What is wrong where, in the body.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
    #[serde(skip)]
    retry_after: Option<u32>,
}

/// Something that is wrong in a body.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Fault {
    /// Where, as a JSON pointer.
    #[schema(example = "#/kwargs/times")]
    pub(crate) pointer: String,
    /// What.
    pub(crate) detail: String,
}

/// What a handler gives.
pub(crate) type Answer<T> = Result<T, Problem>;

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind: format!("urn:taskq:{code}"),
            title,
            status: status.as_u16(),
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
        }
    }

    /// Says what is wrong where.
    pub(crate) fn errors(mut self, errors: Vec<Fault>) -> Self {
        self.errors = errors;
        self
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid",
            "The request makes no sense",
            detail,
        )
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "There is no such thing",
            detail,
        )
    }

    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        Self::new(status, "too_large", "The request is too large", detail)
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "This cannot be done now",
            detail,
        )
        .retry_after(1)
    }

    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    pub(crate) fn title(&self) -> &'static str {
        self.title
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(crate) fn code(&self) -> &'static str {
        self.code
    }
}

/// The answers that every address may give: what went wrong.
pub(crate) struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let problem = |what: &str| {
            let schema = Ref::from_schema_name("Problem");
            let content = ContentBuilder::new().schema(Some(schema)).build();
            ResponseBuilder::new()
                .description(what)
                .content("application/problem+json", content)
                .build()
                .into()
        };
        BTreeMap::from([
            ("4XX".to_owned(), problem("The request cannot be answered")),
            (
                "5XX".to_owned(),
                problem("The gateway, or NATS, cannot answer"),
            ),
        ])
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, axum::Json(&self)).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            let how = HeaderValue::from_static("Bearer realm=\"taskq\"");
            headers.insert(header::WWW_AUTHENTICATE, how);
        }
        // For who makes a page of it.
        response.extensions_mut().insert(self);
        response
    }
}

impl From<taskq::Error> for Problem {
    fn from(error: taskq::Error) -> Self {
        let detail = error.to_string();
        match error.kind() {
            ErrorKind::NotFound => Self::not_found(detail),
            ErrorKind::Gone => Self::new(
                StatusCode::GONE,
                "arguments_gone",
                "The arguments are not kept any more",
                detail,
            ),
            ErrorKind::Invalid => Self::invalid(detail),
            ErrorKind::TooLarge => Self::too_large(detail),
            ErrorKind::Duplicate => Self::new(
                StatusCode::CONFLICT,
                "duplicate",
                "An equal call is a task already",
                detail,
            ),
            ErrorKind::Conflict => Self::new(
                StatusCode::CONFLICT,
                "conflict",
                "Somebody else was first",
                detail,
            ),
            ErrorKind::NoWorker => Self::new(
                StatusCode::CONFLICT,
                "no_worker",
                "No worker listens",
                detail,
            ),
            ErrorKind::QueueFull => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "queue_full",
                "The queue takes no more now",
                detail,
            )
            .retry_after(5),
            ErrorKind::Timeout => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "timeout",
                "It took too long",
                detail,
            ),
            ErrorKind::Connect | ErrorKind::Unavailable | ErrorKind::Closed => {
                Self::unavailable(detail)
            }
            ErrorKind::Unauthorized | ErrorKind::PermissionDenied => Self::new(
                StatusCode::BAD_GATEWAY,
                "nats_permission",
                "NATS does not let the gateway do this",
                detail,
            ),
            ErrorKind::Unsupported => Self::new(
                StatusCode::NOT_IMPLEMENTED,
                "unsupported",
                "This transport cannot do this",
                detail,
            ),
            _ => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "The gateway failed",
                detail,
            ),
        }
    }
}

impl From<IndexError> for Problem {
    fn from(error: IndexError) -> Self {
        let detail = error.to_string();
        match error {
            IndexError::Invalid(_) => Self::invalid(detail),
            IndexError::Closed | IndexError::Follows | IndexError::Postgres(_) => {
                Self::unavailable(detail)
            }
            IndexError::Sqlite(_) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "index",
                "The index failed",
                detail,
            ),
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let detail = rejection.body_text();
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::too_large(detail),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "not_json",
                "The body must be JSON",
                "send the body as JSON, with the header `content-type: application/json`",
            ),
            _ => Self::invalid(detail),
        }
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::invalid(rejection.body_text())
    }
}
