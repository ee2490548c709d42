//! A value that does not mean anything is told at the value.
#![allow(unused)]

use taskq::prelude::*;

#[task(name = "mail send", queue = "e.mail", timeout = "30", ttl = "0s")]
async fn texts() {}

#[task(backoff = "exponental(1s)", priority = "hihg", unique = "5 minutes")]
async fn words() {}

#[task(backoff = "linear(5m, max 1s)", timeout = "-1s", deadline = "soon", retries = 5000000000)]
async fn numbers() {}

fn main() {}
