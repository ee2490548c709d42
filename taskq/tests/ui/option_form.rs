//! How an option is written.
#![allow(unused)]

use taskq::prelude::*;

#[task("mail.send")]
async fn positional() {}

#[task(timeout = 30, retries = "5", queue = email)]
async fn kinds() {}

#[task(retries(5), queue, priority = , retries: 5)]
async fn shapes() {}

#[task(unique = true, crate = "taskq", implements = "contracts::resize")]
async fn others() {}

#[task(deadline, timeout = "1s")]
async fn no_value() {}

#[task(deadline = 10)]
async fn no_unit() {}

#[task(retry_if)]
async fn no_path() {}

#[task(retry_if = "is_transient")]
async fn quoted() {}

#[task(retry_if = |error| true)]
async fn closure() {}

#[task(discover)]
async fn no_answer() {}

#[task(discover = "false")]
async fn quoted_answer() {}

#[task(discover = no)]
async fn another_answer() {}

fn main() {}
