//! One value for an option.
#![allow(unused)]

use taskq::prelude::*;

#[task(queue = "email", retries = 2, queue = "sms", unique, unique = "1h")]
async fn send() {}

fn main() {}
