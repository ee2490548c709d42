//! The implementation has the contract's signature.
#![allow(unused)]

use taskq::prelude::*;

mod contracts {
    use taskq::prelude::*;

    #[task]
    pub async fn resize(url: String, width: u32) -> Result<u64, TaskError>;
}

mod types {
    #[taskq::task(implements = super::contracts::resize)]
    async fn resize(url: Vec<u8>, width: u32) -> Result<String, std::io::Error> {
        Ok(String::new())
    }
}

mod count {
    #[taskq::task(implements = super::contracts::resize)]
    async fn resize(url: String) -> u64 {
        0
    }
}

#[task(implements = contracts::resize)]
async fn swapped(width: u32, ctx: Context, url: String) -> u64 {
    0
}

fn main() {}
