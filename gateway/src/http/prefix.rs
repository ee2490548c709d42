//! The path under which a proxy shows the gateway.
//!
//! It is set (`TASKQ_PATH_PREFIX`), not read from `X-Forwarded-Prefix`: that
//! anybody can send. Proxies that strip the prefix and proxies that do not are
//! both answered, for an address is the same with the prefix and without.

use std::str::FromStr;

use axum::extract::{Request, State};
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

/// A path such as `/ops/taskq`, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// The prefix as it is put before a path: empty, or with a slash at its
    /// start and none at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address at which browsers find a path of this gateway, such as
    /// `/v1/tasks`.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// The path behind the prefix; none for what is not under it.
    fn strip<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(&self.0)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.trim_end_matches('/');
        let fits = |part: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
            !part.is_empty() && part != "." && part != ".." && part.bytes().all(plain)
        };
        match path.strip_prefix('/') {
            Some(rest) if rest.split('/').all(fits) => Ok(Self(path.to_owned())),
            None if path.is_empty() => Ok(Self::default()),
            _ => Err(format!(
                "`{text}` is no path; write it like /taskq or /ops/taskq, of letters, digits, \
                 `-`, `_`, `.` and `~`"
            )),
        }
    }
}

/// Takes the prefix off, before it is looked what is at an address.
pub(crate) async fn strip(
    State(prefix): State<Prefix>,
    mut request: Request,
    next: Next,
) -> Response {
    let uri = request.uri();
    let Some(path) = prefix.strip(uri.path()) else {
        return next.run(request).await;
    };
    let query = uri.query().map(|query| format!("?{query}"));
    let query = query.unwrap_or_default();
    if path.is_empty() {
        // The links of a page are relative to its folder.
        let place = HeaderValue::try_from(format!("{}/{query}", prefix.0));
        return match place {
            Ok(place) => {
                (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, place)]).into_response()
            }
            Err(_) => StatusCode::NOT_FOUND.into_response(),
        };
    }
    let mut parts = uri.clone().into_parts();
    if let Ok(path) = PathAndQuery::try_from(format!("{path}{query}")) {
        parts.path_and_query = Some(path);
    }
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_plain_path() {
        for (text, path) in [
            ("/taskq", "/taskq"),
            ("/ops/taskq/", "/ops/taskq"),
            ("", ""),
            ("/", ""),
        ] {
            assert_eq!(text.parse::<Prefix>().unwrap().as_str(), path);
        }
        for bad in ["taskq", "/a b", "//a", "/a/../b", "/a?b", "/\u{e4}"] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_what_is_under_the_prefix_is_stripped() {
        let prefix: Prefix = "/taskq".parse().unwrap();
        assert_eq!(prefix.strip("/taskq/v1/tasks"), Some("/v1/tasks"));
        assert_eq!(prefix.strip("/taskq"), Some(""));
        assert_eq!(prefix.strip("/taskqs"), None);
        assert_eq!(prefix.strip("/v1/tasks"), None);
    }
}
