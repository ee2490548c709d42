//! Names of the user's that the expansion must not mix up with its own, or with those
//! of the standard library and the prelude.
#![deny(warnings)]
#![allow(unreachable_pub, dead_code)]
#![allow(non_camel_case_types)]

mod hostile {
    pub struct String;
    pub struct Vec;
    pub enum Option {}
    pub enum Result {}
    pub fn drop() {}
    #[allow(non_upper_case_globals)]
    pub const Ok: u8 = 1;
    #[allow(non_upper_case_globals)]
    pub const Some: u8 = 1;
    #[allow(non_upper_case_globals)]
    pub const None: u8 = 1;
    pub trait Into {}
    pub trait Task {}
    pub struct Call;
    pub struct Registration;
    pub struct u32;
    pub struct usize;
}

mod tasks {
    #![allow(unused_imports)]
    use super::hostile::*;

    #[::taskq::task]
    pub fn run(text: ::std::string::String, n: u8) -> u8 {
        let _ = text;
        n
    }
    #[::taskq::task]
    pub async fn encode(args: u8) {
        let _ = args;
    }
    #[::taskq::task(retries = 1, unique = "1s")]
    pub async fn taskq() {}
    #[::taskq::task]
    pub async fn call(client: u8, call: u8) -> ::core::result::Result<u8, ::std::fmt::Error> {
        ::core::result::Result::Ok(client + call)
    }
    #[::taskq::task]
    pub async fn call_it(a: u8, b: u8) -> ::core::result::Result<u8, taskq_alias::TaskError>;
    #[::taskq::task(implements = call_it)]
    pub async fn enqueue(x: u8, y: u8) -> u8 {
        x + y
    }
    use ::taskq as taskq_alias;
}

#[test]
fn each_name_means_what_it_should() {
    assert_eq!(tasks::run("x".to_owned(), 1), 1);
    assert_eq!(tasks::call::NAME, "call");
    let _calls = (tasks::run::call("x", 1), tasks::call::call(1, 2));
}
