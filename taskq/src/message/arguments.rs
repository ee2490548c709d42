//! A call's arguments: JSON texts by position and by name.

use std::borrow::Cow;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::wire;
use crate::error::{Error, Result};

/// The arguments of a call, each kept as the JSON text it came as, so that a
/// number of any size survives and nothing is decoded twice.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    pub(crate) positional: Vec<Box<RawValue>>,
    pub(crate) named: Vec<(Cow<'static, str>, Box<RawValue>)>,
}

impl Arguments {
    /// No arguments yet, with room for `count` named ones.
    #[must_use]
    pub fn named(count: usize) -> Self {
        Self {
            positional: Vec::new(),
            named: Vec::with_capacity(count),
        }
    }

    /// Adds an argument by name.
    ///
    /// # Errors
    /// When the value has no JSON form.
    pub fn push<T: Serialize + ?Sized>(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        value: &T,
    ) -> Result<()> {
        let name = name.into();
        let value =
            to_raw(value).map_err(|error| encode_error(&format!("argument `{name}`"), error))?;
        self.named.push((name, value));
        Ok(())
    }

    /// Adds the next argument by position.
    ///
    /// # Errors
    /// When the value has no JSON form.
    pub fn push_positional<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let place = self.positional.len() + 1;
        let value = to_raw(value)
            .map_err(|error| encode_error(&format!("positional argument {place}"), error))?;
        self.positional.push(value);
        Ok(())
    }

    /// The arguments by position, as JSON.
    pub fn positional(&self) -> impl Iterator<Item = &str> {
        self.positional.iter().map(|value| value.get())
    }

    /// The arguments by name, as JSON.
    pub fn iter_named(&self) -> impl Iterator<Item = (&str, &str)> {
        self.named
            .iter()
            .map(|(name, value)| (name.as_ref(), value.get()))
    }

    /// The arguments of two JSON texts, a list and an object; nothing if both
    /// are missing.
    pub(crate) fn from_json(args: Option<&RawValue>, kwargs: Option<&RawValue>) -> Option<Self> {
        if args.is_none() && kwargs.is_none() {
            return None;
        }
        let positional = args.and_then(|args| serde_json::from_str(args.get()).ok());
        let named = kwargs.and_then(|kwargs| wire::named(kwargs.get()).ok());
        Some(Self {
            positional: positional.unwrap_or_default(),
            named: named.unwrap_or_default(),
        })
    }

    /// Reads the arguments as Python binds a call: by position first, then
    /// by name.
    ///
    /// # Errors
    /// A sentence that names the argument which is unknown, given twice, or
    /// one too many.
    pub(crate) fn bind<P: AsRef<str>>(
        &self,
        params: &[P],
    ) -> Result<Vec<Option<&RawValue>>, String> {
        if self.positional.len() > params.len() {
            return Err(format!(
                "takes {} ({}), got {} by position",
                count(params.len()),
                list(params),
                self.positional.len(),
            ));
        }
        let mut bound: Vec<Option<&RawValue>> =
            self.positional.iter().map(|value| Some(&**value)).collect();
        bound.resize(params.len(), None);
        for (name, value) in &self.named {
            let Some(place) = params.iter().position(|param| param.as_ref() == name) else {
                return Err(format!(
                    "has no argument `{name}`; it takes {}",
                    list(params)
                ));
            };
            if bound[place].is_some() {
                return Err(format!("got argument `{name}` twice"));
            }
            bound[place] = Some(value);
        }
        Ok(bound)
    }
}

impl PartialEq for Arguments {
    /// Equal when the JSON values are, whatever the white space.
    fn eq(&self, other: &Self) -> bool {
        fn same(one: &RawValue, other: &RawValue) -> bool {
            let value = |raw: &RawValue| serde_json::from_str::<serde_json::Value>(raw.get());
            one.get() == other.get()
                || matches!((value(one), value(other)), (Ok(one), Ok(other)) if one == other)
        }
        self.positional.len() == other.positional.len()
            && self.named.len() == other.named.len()
            && self
                .positional
                .iter()
                .zip(&other.positional)
                .all(|(one, other)| same(one, other))
            && self.named.iter().all(|(name, value)| {
                other
                    .named
                    .iter()
                    .any(|(key, there)| key == name && same(value, there))
            })
    }
}

pub(crate) fn to_raw<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Box<RawValue>> {
    serde_json::value::to_raw_value(value)
}

pub(crate) fn from_raw<T: DeserializeOwned>(raw: &RawValue) -> serde_json::Result<T> {
    serde_json::from_str(raw.get())
}

fn encode_error(what: &str, error: serde_json::Error) -> Error {
    Error::invalid(format!(
        "{what} has no JSON form: {error}; give it a type whose `Serialize` JSON can hold"
    ))
    .with_source(error)
}

fn count(n: usize) -> String {
    match n {
        1 => "1 argument".to_owned(),
        n => format!("{n} arguments"),
    }
}

fn list<P: AsRef<str>>(params: &[P]) -> String {
    if params.is_empty() {
        return "none".to_owned();
    }
    params
        .iter()
        .map(|param| format!("`{}`", param.as_ref()))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(positional: &[i64], named: &[(&'static str, i64)]) -> Arguments {
        let mut arguments = Arguments::default();
        for value in positional {
            arguments.push_positional(value).unwrap();
        }
        for (name, value) in named {
            arguments.push(*name, value).unwrap();
        }
        arguments
    }

    fn texts(bound: &[Option<&RawValue>]) -> Vec<String> {
        bound
            .iter()
            .map(|value| value.map_or("-".to_owned(), |value| value.get().to_owned()))
            .collect()
    }

    #[test]
    fn arguments_bind_by_position_then_by_name() {
        let params = ["a", "b", "c"];
        let call = arguments(&[1], &[("c", 3), ("b", 2)]);
        assert_eq!(texts(&call.bind(&params).unwrap()), ["1", "2", "3"]);
        let call = arguments(&[], &[("b", 2)]);
        assert_eq!(texts(&call.bind(&params).unwrap()), ["-", "2", "-"]);
    }

    #[test]
    fn a_call_that_does_not_fit_names_the_argument() {
        let params = ["text", "times"];
        let error = |call: Arguments| call.bind(&params).unwrap_err();
        assert_eq!(
            error(arguments(&[1, 2, 3], &[])),
            "takes 2 arguments (`text`, `times`), got 3 by position"
        );
        assert_eq!(
            error(arguments(&[1], &[("txet", 2)])),
            "has no argument `txet`; it takes `text`, `times`"
        );
        assert_eq!(
            error(arguments(&[1], &[("text", 2)])),
            "got argument `text` twice"
        );
        let none = arguments(&[1], &[]).bind::<&str>(&[]).unwrap_err();
        assert_eq!(none, "takes 0 arguments (none), got 1 by position");
    }
}
