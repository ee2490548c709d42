//! `retry_if` takes a `fn(&TaskError) -> bool`.
#![allow(unused)]

use taskq::prelude::*;

mod errors {
    use super::*;

    pub fn of_another_type(error: &std::io::Error) -> bool {
        true
    }
    pub fn by_value(error: TaskError) -> bool {
        true
    }
    pub fn without_an_answer(error: &TaskError) {}
    pub async fn later(error: &TaskError) -> bool {
        true
    }
    pub fn good(error: &TaskError) -> bool {
        true
    }
}

struct IsTransient;

#[task(retries = 3, retry_if = errors::of_another_type)]
async fn of_another_type() {}

#[task(retries = 3, retry_if = errors::by_value)]
async fn by_value() {}

#[task(retries = 3, retry_if = errors::without_an_answer)]
async fn without_an_answer() {}

#[task(retries = 3, retry_if = errors::later)]
async fn later() {}

#[task(retries = 3, retry_if = nowhere::missing)]
async fn missing() {}

#[task(retries = 3, retry_if = IsTransient)]
async fn no_function() {}

#[task(retries = 3, retry_if = errors::good)]
async fn good() {}

fn main() {}
