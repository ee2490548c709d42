//! A statement as it is put together, and the rows that it gives: the same for
//! both databases but for what [`Dialect`] says.

use std::fmt::Write as _;
use std::future::Future;

use super::Result;

/// Where two databases write the same thing differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    #[allow(dead_code, reason = "the store that speaks it comes next")]
    Postgres,
}

impl Dialect {
    /// A join in the order in which it is written. PostgreSQL finds it by its
    /// statistics.
    pub(super) const fn join(self) -> &'static str {
        match self {
            Self::Sqlite => "CROSS JOIN",
            Self::Postgres => "JOIN",
        }
    }

    /// The index to go by. PostgreSQL takes no such word.
    pub(super) fn by(self, index: Option<&str>) -> String {
        match (self, index) {
            (Self::Postgres, _) => String::new(),
            (Self::Sqlite, Some(index)) => format!(" INDEXED BY {index}"),
            (Self::Sqlite, None) => " NOT INDEXED".to_owned(),
        }
    }
}

/// A value in a statement.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Int(i64),
    Text(String),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

/// A statement that reads.
#[derive(Clone, Debug)]
pub(super) struct Select {
    dialect: Dialect,
    pub(super) text: String,
    pub(super) values: Vec<Value>,
}

impl Select {
    pub(super) fn new(dialect: Dialect, text: &str) -> Self {
        Self {
            dialect,
            text: text.to_owned(),
            values: Vec::new(),
        }
    }

    /// Adds text; each `?` in it is the next of the values.
    pub(super) fn push<const N: usize>(&mut self, text: &str, values: [Value; N]) {
        let mut values = values.into_iter();
        for (place, part) in text.split('?').enumerate() {
            if place > 0
                && let Some(value) = values.next()
            {
                self.value(value);
            }
            self.text.push_str(part);
        }
    }

    pub(super) fn and<const N: usize>(&mut self, condition: &str, values: [Value; N]) {
        self.text.push_str(" AND ");
        self.push(condition, values);
    }

    pub(super) fn one_of(&mut self, column: &str, values: Vec<Value>) {
        let _ = write!(self.text, " AND {column} IN (");
        for (place, value) in values.into_iter().enumerate() {
            self.text.push_str(if place > 0 { ", " } else { "" });
            self.value(value);
        }
        self.text.push(')');
    }

    pub(super) fn end(&mut self, order: &str, limit: usize) {
        // Writing to a String does not fail.
        let _ = write!(self.text, " ORDER BY {order} LIMIT {limit}");
    }

    fn value(&mut self, value: Value) {
        match (self.dialect, value) {
            // It plans better with a number before its eyes.
            (Dialect::Postgres, Value::Int(number)) => {
                let _ = write!(self.text, "{number}");
            }
            (Dialect::Postgres, value) => {
                self.values.push(value);
                let _ = write!(self.text, "${}", self.values.len());
            }
            (Dialect::Sqlite, value) => {
                self.values.push(value);
                self.text.push('?');
            }
        }
    }
}

/// A value in a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
}

/// A row, read from its first column to its last. What is not there, or is
/// something else, is nothing: the tables are made by who reads them.
#[derive(Debug)]
pub(super) struct Row(std::vec::IntoIter<Cell>);

impl Row {
    pub(super) fn new(cells: Vec<Cell>) -> Self {
        Self(cells.into_iter())
    }

    pub(super) fn maybe_int(&mut self) -> Option<i64> {
        match self.0.next()? {
            Cell::Int(number) => Some(number),
            _ => None,
        }
    }

    pub(super) fn int(&mut self) -> i64 {
        self.maybe_int().unwrap_or_default()
    }

    pub(super) fn maybe_real(&mut self) -> Option<f64> {
        match self.0.next()? {
            Cell::Real(number) => Some(number),
            Cell::Int(number) => Some(number as f64),
            _ => None,
        }
    }

    pub(super) fn maybe_text(&mut self) -> Option<String> {
        match self.0.next()? {
            Cell::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn text(&mut self) -> String {
        self.maybe_text().unwrap_or_default()
    }
}

/// Who reads from a database, in one state of it.
pub(super) trait Reader: Send {
    fn dialect(&self) -> Dialect;

    fn rows(&mut self, sql: Select) -> impl Future<Output = Result<Vec<Row>>> + Send;
}
