//! A schedule that is none, or that nobody could run, is told when it is compiled.
#![allow(unused)]

use taskq::prelude::*;

#[task(schedule = "0 9 * *", overlap = "queue", misfire = "all")]
async fn texts() {}

#[task(schedule = "0 9 * * *", tz = "Berlin", misfire_after = "soon", jitter = "30")]
async fn zone() {}

#[task(schedule = "@hourli")]
async fn word() {}

#[task(schedule = "every 15m", tz = "Europe/Berlin")]
async fn interval() {}

#[task(tz = "Europe/Berlin", jitter = "30s")]
async fn no_schedule() {}

#[task(schedule = "@daily")]
async fn arguments(ctx: Context, day: u32, name: String) {}

#[task(schedule = "@daily")]
async fn contract();

fn main() {}
