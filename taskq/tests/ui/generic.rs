//! A task has no type, constant or lifetime parameters.
#![allow(unused)]

use taskq::prelude::*;

#[task]
async fn of_any<T: Send>(value: T) {}

#[task]
async fn of_many<const N: usize>(values: [u8; N]) {}

#[task]
async fn with_lifetime<'a>(text: std::borrow::Cow<'a, str>) {}

#[task]
fn with_bound(text: String) where String: Send {}

fn main() {}
