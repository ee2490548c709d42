//! A wrong call is told in terms of the task's own parameters.
#![allow(unused)]

use taskq::prelude::*;

#[task]
async fn repeat(ctx: Context, text: String, times: u32) -> String {
    text.repeat(times as usize)
}

async fn wrong(client: Client) -> taskq::Result<()> {
    let _ = repeat::call("x");
    let _ = repeat::call("x", "3");
    let handle = repeat::enqueue(&client, "x", 3).await?;
    let _: u32 = handle.result().await?;
    let _ = not_a_task::enqueue(&client);
    Ok(())
}

fn not_a_task() {}

fn main() {}
