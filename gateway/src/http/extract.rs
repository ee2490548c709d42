//! What handlers take from a request, with problems where it makes no sense.

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::index::Order;

/// A body in JSON; answered as JSON.
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let axum::Json(body) = axum::Json::from_request(request, state).await?;
        Ok(Self(body))
    }
}

impl<T: Serialize> axum::response::IntoResponse for Json<T> {
    fn into_response(self) -> axum::response::Response {
        axum::Json(self.0).into_response()
    }
}

/// A part of the path, as text that a subject can hold.
pub(crate) struct Name(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) = path.map_err(|error| Problem::invalid(error.body_text()))?;
        if name.len() > 256 {
            return Err(Problem::invalid("this name is longer than 256 bytes"));
        }
        Ok(Self(name))
    }
}

/// The parameters of an address, read one by one: a name that nobody reads is
/// a mistake and is told.
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(params) =
            Query::<Vec<(String, String)>>::from_request_parts(parts, state).await?;
        Ok(Self(params))
    }
}

impl Params {
    /// All values of a name; none of them is empty.
    pub(crate) fn all(&mut self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        self.0.retain_mut(|(key, value)| {
            if key != name {
                return true;
            }
            if !value.is_empty() {
                found.push(std::mem::take(value));
            }
            false
        });
        found
    }

    /// All values of a name, of which each may be several with commas between,
    /// before anybody has read them.
    pub(crate) fn peek(&self, name: &str) -> Vec<String> {
        let named = self.0.iter().filter(|(key, _)| key == name);
        let parts = named.flat_map(|(_, value)| value.split(','));
        parts.map(str::to_owned).collect()
    }

    /// The one value of a name.
    pub(crate) fn one(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut all = self.all(name);
        if all.len() > 1 {
            return Err(Problem::invalid(format!("`{name}` can be given once only")));
        }
        Ok(all.pop())
    }

    /// The one value of a name, read as something.
    pub(crate) fn read<T>(&mut self, name: &str) -> Result<Option<T>, Problem>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let Some(text) = self.one(name)? else {
            return Ok(None);
        };
        let read = text.parse();
        read.map(Some)
            .map_err(|error| Problem::invalid(format!("`{name}={text}` is none: {error}")))
    }

    /// All values of a name, of which each may be several with commas between.
    pub(crate) fn list<T>(&mut self, name: &str) -> Result<Vec<T>, Problem>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let all = self.all(name);
        let parts = all.iter().flat_map(|text| text.split(','));
        parts
            .map(|part| {
                part.parse()
                    .map_err(|error| Problem::invalid(format!("`{name}={part}` is none: {error}")))
            })
            .collect()
    }

    /// All values of a name, each `name=value`.
    pub(crate) fn pairs(&mut self, name: &str) -> Result<Vec<(String, String)>, Problem> {
        let pair = |text: String| match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(Problem::invalid(format!(
                "`{name}={text}` is none; write it like {name}=customer=42"
            ))),
        };
        self.all(name).into_iter().map(pair).collect()
    }

    /// A length of time, at most a minute.
    pub(crate) fn wait(&mut self) -> Result<Option<Duration>, Problem> {
        let Some(text) = self.one("wait")? else {
            return Ok(None);
        };
        let wait = duration("wait", &text)?;
        Ok(Some(wait.min(super::LONGEST_WAIT)))
    }

    /// How many to list, 1 to 500.
    pub(crate) fn limit(&mut self) -> Result<usize, Problem> {
        match self.read::<u16>("limit")? {
            None => Ok(50),
            Some(limit) if (1..=500).contains(&limit) => Ok(limit.into()),
            Some(limit) => Err(Problem::invalid(format!(
                "`limit={limit}` is none; it is 1 to 500"
            ))),
        }
    }

    /// Which end to list first.
    pub(crate) fn order(&mut self) -> Result<Order, Problem> {
        match self.one("order")?.as_deref() {
            None | Some("newest") => Ok(Order::Newest),
            Some("oldest") => Ok(Order::Oldest),
            Some(other) => Err(Problem::invalid(format!(
                "`order={other}` is none; it is newest or oldest"
            ))),
        }
    }

    /// Changes the values of a name, before anybody has read them.
    pub(crate) fn change(&mut self, name: &str, change: impl Fn(&str) -> String) {
        for (_, value) in self.0.iter_mut().filter(|(key, _)| key == name) {
            *value = change(value);
        }
    }

    /// Refuses what nobody has read.
    pub(crate) fn end(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::invalid(format!(
                "there is no parameter `{name}` here; /docs lists those that there are"
            ))),
        }
    }
}

/// A length of time from its text.
pub(crate) fn duration(name: &str, text: &str) -> Result<Duration, Problem> {
    taskq::parse_duration(text)
        .map_err(|error| Problem::invalid(format!("`{name}` is no length of time: {error}")))
}
