//! Nothing is borrowed from a message, and a result leaves the worker.
#![allow(unused)]

use std::borrow::Cow;
use std::path::Path;
use taskq::prelude::*;

#[task]
async fn measure(text: &str, bytes: &[u8], path: &Path, count: &mut u32) {}

#[task]
async fn inside(maybe: Option<&'static str>, cow: Cow<'_, str>) {}

#[task]
async fn greeting() -> &'static str {
    "hello"
}

#[task]
async fn lookup(settings: State<&str>, context: &Context) {}

fn main() {}
