//! What `#[task]` makes of functions, seen from a user's crate.

// `pub` is part of what is tested here, in a crate that nothing names.
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, reason = "tests fail by panics")]

use serde::{Deserialize, Serialize};
use taskq::prelude::*;
use taskq::{Invocation, Registration};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Email {
    to: String,
}

struct Greeting(&'static str);

/// Converts a string
/// to uppercase.
///
/// Unicode-aware.
#[task]
async fn to_uppercase(text: String) -> String {
    text.to_uppercase()
}

#[task(
    name = "mail.send",
    queue = "email",
    retries = 5,
    backoff = "exponential(1s, max 5m)",
    timeout = "30s",
    deadline = "10m",
    priority = "high",
    unique = "1h",
    ttl = "2h"
)]
async fn send_email(
    ctx: Context,
    greeting: State<Greeting>,
    message: Email,
) -> Result<String, std::fmt::Error> {
    Ok(format!(
        "{} {} at {}",
        greeting.0,
        message.to,
        ctx.attempt()
    ))
}

/// A worker of this program on a transport of its own, and the client to it.
fn start() -> Client {
    let client = Client::memory();
    let worker = Worker::builder(client.clone())
        .queues(["default", "email", "cpu"])
        .state(Greeting("hello"))
        .build()
        .unwrap();
    tokio::spawn(worker.run_until(std::future::pending()));
    client
}

fn registration<T: Task>() -> &'static Registration {
    T::REGISTRATION.unwrap()
}

#[tokio::test]
async fn the_function_is_the_one_that_was_written() {
    assert_eq!(to_uppercase("hello".into()).await, "HELLO");
    let message = Email { to: "ada".into() };
    let greeting = State::new(Greeting("dear"));
    let sent = send_email(Context::test(), greeting, message).await;
    assert_eq!(sent.unwrap(), "dear ada at 1");
}

#[tokio::test]
async fn a_call_takes_only_what_is_sent() {
    let client = start();
    // A `String` may be given as anything that converts into one.
    let handle = to_uppercase::enqueue(&client, "hello").await.unwrap();
    assert_eq!(handle.result().await.unwrap(), "HELLO");
    let message = Email { to: "ada".into() };
    let handle = send_email::call(message).enqueue(&client).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), "hello ada at 1");
}

#[test]
fn names_and_options_are_the_authors() {
    assert_eq!(to_uppercase::NAME, "to_uppercase");
    assert_eq!(send_email::NAME, "mail.send");
    assert_eq!(<send_email as Task>::NAME, send_email::NAME);
    assert_eq!(send_email::PARAMS, ["message"]);

    let hour = std::time::Duration::from_secs(3600);
    let options = taskq::TaskOptions::new()
        .queue("email")
        .retries(5)
        .backoff("exponential(1s, max 5m)".parse().unwrap())
        .timeout(hour / 120)
        .deadline(hour / 6)
        .priority(Priority::High)
        .unique(taskq::Unique::For(hour))
        .ttl(hour * 2);
    assert_eq!(send_email::OPTIONS, options);
    assert_eq!(to_uppercase::OPTIONS, taskq::TaskOptions::new());
}

#[test]
fn a_registration_tells_what_a_worker_shows() {
    let task = registration::<to_uppercase>();
    assert_eq!(task.doc, "Converts a string to uppercase.");
    assert_eq!(task.signature(), "to_uppercase(text: String) -> String");
    assert_eq!(task.module, "macros");
    assert!(!task.blocking);
    assert!(task.needs.is_empty());

    let task = registration::<send_email>();
    assert_eq!(
        task.signature(),
        "mail.send(message: Email) -> Result<String, std::fmt::Error>"
    );
    assert_eq!(
        format!("{:?}", task.needs),
        "[[], [State<macros::Greeting>]]"
    );

    const LINE: u32 = line!() + 2;
    #[task]
    fn here() {}
    assert!(
        registration::<here>()
            .place()
            .ends_with(&format!("macros.rs:{LINE}"))
    );
}

mod elsewhere {
    use taskq::prelude::*;

    pub mod deep {
        use super::*;

        /// The same function name as another task, so another wire name.
        #[task(name = "deep.to_uppercase")]
        pub async fn to_uppercase(text: String) -> String {
            format!("deep {}", text.to_uppercase())
        }
    }

    #[task]
    pub(crate) fn only_in_the_crate(n: u8) -> u8 {
        n + 1
    }
}

#[tokio::test]
async fn a_task_works_in_modules_and_renamed() {
    use elsewhere::deep::to_uppercase as shout;
    let client = start();

    assert_eq!(shout("x".into()).await, "deep X");
    assert_eq!(shout::NAME, "deep.to_uppercase");
    let handle = shout::enqueue(&client, "x").await.unwrap();
    assert_eq!(handle.result().await.unwrap(), "deep X");

    use elsewhere::only_in_the_crate;
    assert_eq!(only_in_the_crate(1), 2);
    let handle = only_in_the_crate::enqueue(&client, 1).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), 2);
}

#[tokio::test]
async fn a_task_works_inside_a_function() {
    #[derive(Serialize, Deserialize)]
    struct Local(u8);

    #[task]
    async fn nested(local: Local) -> Local {
        Local(local.0 * 2)
    }

    let handle = nested::enqueue(&start(), Local(21)).await.unwrap();
    assert_eq!(handle.result().await.unwrap().0, 42);
}

#[tokio::test]
async fn raw_identifiers_lose_their_mark_on_the_wire() {
    #[task]
    async fn r#match(r#type: String, r#in: u8) -> String {
        r#type + &r#in.to_string()
    }

    assert_eq!(r#match::NAME, "match");
    assert_eq!(r#match::PARAMS, ["type", "in"]);
    let handle = r#match::enqueue(&start(), "a", 1).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), "a1");
}

#[tokio::test]
async fn parameters_may_have_any_name() {
    // Each is a name that the expansion uses too.
    #[task]
    #[allow(clippy::too_many_arguments)]
    async fn bound(
        client: u8,
        args: u8,
        arg0: u8,
        arguments: u8,
        invocation: u8,
        bound: u8,
        self_: u8,
        mut task: u8,
    ) -> Vec<u8> {
        task += 1;
        vec![
            client, args, arg0, arguments, invocation, bound, self_, task,
        ]
    }

    let handle = bound::enqueue(&start(), 1, 2, 3, 4, 5, 6, 7, 7)
        .await
        .unwrap();
    assert_eq!(handle.result().await.unwrap(), [1, 2, 3, 4, 5, 6, 7, 8]);
}

/// Not a `Result`, for all its name and parameters.
mod namesake {
    use serde::{Deserialize, Serialize};
    use taskq::task;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub enum Result<T, E> {
        Ok(T),
        Err(E),
    }

    #[task]
    pub async fn by_name_only(fail: bool) -> Result<u8, u8> {
        if fail { Result::Err(1) } else { Result::Ok(2) }
    }
}

#[tokio::test]
async fn a_result_is_one_under_any_name() {
    type Answer = Result<u8, std::num::ParseIntError>;
    use std::result::Result as Outcome;

    #[task]
    async fn by_alias(text: String) -> Answer {
        text.parse()
    }
    #[task]
    async fn by_import(text: String) -> Outcome<u8, String> {
        text.parse().map_err(|_| format!("no number: {text}"))
    }
    #[task]
    async fn by_anyhow(text: String) -> anyhow::Result<u8> {
        anyhow::ensure!(!text.is_empty(), "nothing there");
        Ok(text.parse()?)
    }

    let client = start();
    let seven = by_alias::enqueue(&client, "7").await.unwrap();
    assert_eq!(seven.result().await.unwrap(), 7);
    let seven = by_import::enqueue(&client, "7").await.unwrap();
    assert_eq!(seven.result().await.unwrap(), 7);
    let seven = by_anyhow::enqueue(&client, "7").await.unwrap();
    assert_eq!(seven.result().await.unwrap(), 7);
    let value = namesake::by_name_only::enqueue(&client, true)
        .await
        .unwrap();
    assert_eq!(value.result().await.unwrap(), namesake::Result::Err(1));

    for (handle, told) in [
        (
            by_alias::enqueue(&client, "x").await.unwrap(),
            "invalid digit",
        ),
        (
            by_import::enqueue(&client, "x").await.unwrap(),
            "no number: x",
        ),
        (
            by_anyhow::enqueue(&client, "").await.unwrap(),
            "nothing there",
        ),
    ] {
        let error = handle.result().await.unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[tokio::test]
async fn an_option_may_be_absent_and_nothing_may_be_returned() {
    #[task]
    async fn optional(text: Option<String>, n: Option<u8>) {
        assert_eq!((text, n), (None, Some(3)));
    }

    let client = start();
    let handle = optional::enqueue(&client, None, Some(3)).await.unwrap();
    handle.result().await.unwrap();
    // As a sender that does not know of `text` would send it.
    let handle = client
        .call(optional::NAME)
        .arg("n", &3)
        .enqueue(&client)
        .await;
    handle.unwrap().result().await.unwrap();
}

#[tokio::test]
async fn a_plain_function_runs_on_the_blocking_pool() {
    #[task]
    fn thread() -> String {
        // A blocking thread may block; a runtime's thread panics here.
        tokio::runtime::Handle::current().block_on(async { "blocked".to_owned() })
    }

    assert!(registration::<thread>().blocking);
    let handle = thread::enqueue(&start()).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), "blocked");
}

#[tokio::test]
async fn injected_parameters_stand_anywhere_and_may_be_patterns() {
    struct Clock(u8);
    impl taskq::Inject for Clock {
        fn inject(invocation: &Invocation) -> Result<Self, TaskError> {
            u8::try_from(invocation.context().attempt())
                .map(Self)
                .map_err(TaskError::permanent)
        }
    }

    #[task]
    async fn mixed(
        first: String,
        #[inject] Clock(attempt): Clock,
        second: u8,
        _: Context,
        greeting: taskq::State<Greeting>,
        third: (u8, Option<u8>),
    ) -> String {
        format!("{first} {attempt} {second} {} {third:?}", greeting.0)
    }

    assert_eq!(mixed::PARAMS, ["first", "second", "third"]);
    let handle = mixed::enqueue(&start(), "a", 2, (3, None)).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), "a 1 2 hello (3, None)");
}

#[tokio::test]
async fn arguments_are_decoded_before_anything_is_injected() {
    struct Never;
    impl taskq::Inject for Never {
        fn inject(_: &Invocation) -> Result<Self, TaskError> {
            Err(TaskError::permanent("injected"))
        }
    }
    #[task]
    async fn ordered(#[inject] _never: Never, _number: u8) {}

    let client = start();
    let call = client.call(ordered::NAME).arg("_number", &"not a number");
    let error = call
        .enqueue(&client)
        .await
        .unwrap()
        .result()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("argument `_number`"), "{error}");
    let handle = ordered::enqueue(&client, 1).await.unwrap();
    let error = handle.result().await.unwrap_err();
    assert!(error.to_string().contains("injected"), "{error}");
}

fn is_transient(error: &TaskError) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
}

#[test]
fn a_registration_tells_which_errors_are_retried() {
    mod errors {
        pub(super) use super::is_transient;
    }
    #[task(retries = 3, retry_if = errors::is_transient)]
    async fn choosy() -> std::io::Result<()> {
        Ok(())
    }

    let retry_if = registration::<choosy>().retry_if.unwrap();
    let timed_out = std::io::Error::from(std::io::ErrorKind::TimedOut);
    assert!(retry_if(&timed_out.into()));
    let not_found = std::io::Error::from(std::io::ErrorKind::NotFound);
    assert!(!retry_if(&not_found.into()));
    assert!(!retry_if(&"another type".into()));
    assert!(registration::<to_uppercase>().retry_if.is_none());
}

/// The names of the tasks of a worker, here with one that is named.
fn tasks_with<T: Task>() -> [Vec<&'static str>; 2] {
    [false, true].map(|named| {
        let mut worker = Worker::builder(Client::memory()).state(Greeting(""));
        if named {
            worker = worker.task::<T>();
        }
        let tasks = worker.build().unwrap().tasks();
        tasks.iter().map(|task| task.name).collect()
    })
}

#[tokio::test]
async fn an_undiscovered_task_is_a_workers_that_names_it() {
    #[task(discover = false)]
    async fn hidden(n: u8) -> u8 {
        n + 1
    }
    #[task(discover = true)]
    async fn found() {}

    let [discovered, named] = tasks_with::<hidden>();
    assert!(!discovered.contains(&"hidden"));
    assert!(named.contains(&"hidden"));
    assert_eq!(named.len(), discovered.len() + 1);
    assert!(discovered.contains(&"found"));

    let client = Client::memory();
    let worker = Worker::builder(client.clone())
        .discover(false)
        .task::<hidden>()
        .build()
        .unwrap();
    tokio::spawn(worker.run_until(std::future::pending()));
    let handle = hidden::enqueue(&client, 1).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), 2);
}

#[test]
fn undiscovered_tasks_may_share_a_name() {
    mod one {
        #[taskq::task(name = "twin", discover = false)]
        pub(super) async fn task() {}
    }
    mod other {
        #[taskq::task(name = "twin", discover = false)]
        pub(super) async fn task() {}
    }

    let [_, named] = tasks_with::<one::task>();
    assert!(named.contains(&"twin"));
    let [_, named] = tasks_with::<other::task>();
    assert!(named.contains(&"twin"));
}

#[test]
fn an_implementation_may_be_undiscovered() {
    #[task(implements = contracts::nobody, discover = false)]
    async fn somebody(n: u8) -> u8 {
        n
    }

    let [discovered, named] = tasks_with::<somebody>();
    assert!(!discovered.contains(&"nobody"));
    assert!(named.contains(&"nobody"));
}

mod contracts {
    use taskq::prelude::*;

    /// Makes a thumbnail.
    #[task(name = "images.resize", queue = "cpu", retries = 3)]
    pub async fn resize(url: String, width: u32) -> Result<String, TaskError>;

    /// What no worker here finds by itself.
    #[task]
    pub async fn nobody(n: u8) -> u8;
}

/// Other parameter names, an injected one, another error: the contract is about the
/// types that are sent.
#[task(implements = contracts::resize, retry_if = is_transient)]
async fn resize(
    from: String,
    greeting: State<Greeting>,
    pixels: u32,
) -> Result<String, std::fmt::Error> {
    Ok(format!("{} {from} {pixels}", greeting.0))
}

#[tokio::test]
async fn an_implementation_runs_the_calls_of_its_contract() {
    let client = start();
    let handle = contracts::resize::enqueue(&client, "u", 80).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), "hello u 80");
    let handle = resize::enqueue(&client, "u", 80).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), "hello u 80");
    // Called here, it is the function of the worker.
    let greeting = State::new(Greeting("hi"));
    assert_eq!(resize("u".into(), greeting, 1).await.unwrap(), "hi u 1");
}

#[test]
fn an_implementation_is_the_contract() {
    assert_eq!(resize::NAME, "images.resize");
    assert_eq!(resize::PARAMS, contracts::resize::PARAMS);
    assert_eq!(resize::OPTIONS, contracts::resize::OPTIONS);
    assert_eq!(
        registration::<resize>().signature(),
        "images.resize(url: String, width: u32) -> Result<String, std::fmt::Error>"
    );
    // Which errors it retries is its own to say.
    assert!(registration::<resize>().retry_if.is_some());
}

#[test]
fn a_contract_registers_nothing() {
    assert!(contracts::resize::REGISTRATION.is_none());
    assert_eq!(contracts::nobody::NAME, "nobody");
    let worker = Worker::builder(Client::memory())
        .state(Greeting(""))
        .build();
    let tasks = worker.unwrap().tasks();
    assert!(tasks.iter().any(|task| task.name == "images.resize"));
    assert!(tasks.iter().all(|task| task.name != "nobody"));
}

#[tokio::test]
async fn a_task_may_be_made_by_a_macro() {
    macro_rules! adder {
        ($name:ident, $type:ty) => {
            #[task]
            async fn $name(a: $type, b: $type) -> $type {
                a + b
            }
        };
    }
    adder!(add_u8, u8);
    adder!(add_f64, f64);
    macro_rules! echo {
        ($type:ty) => {
            #[task]
            async fn echo(text: $type) -> $type {
                text
            }
        };
    }
    echo!(String);

    let client = start();
    let sum = add_u8::enqueue(&client, 1, 2).await.unwrap();
    assert_eq!(sum.result().await.unwrap(), 3);
    assert_eq!(registration::<add_f64>().output, "f64");
    let said = echo::enqueue(&client, "text").await.unwrap();
    assert_eq!(said.result().await.unwrap(), "text");
}

mod facade {
    pub mod queue {
        pub use ::taskq::*;
    }
}

#[tokio::test]
async fn the_library_may_be_behind_another_crate() {
    #[facade::queue::task(crate = facade::queue)]
    async fn through_a_facade(n: u8) -> u8 {
        n
    }
    let handle = through_a_facade::enqueue(&start(), 7).await.unwrap();
    assert_eq!(handle.result().await.unwrap(), 7);
}

#[test]
fn attributes_stay_with_the_function() {
    #[task]
    #[deprecated = "use another"]
    #[must_use]
    async fn old() -> u8 {
        1
    }
    #[cfg(any())]
    #[task]
    async fn not_in_this_build(n: Missing) {}
    #[task]
    #[cfg(any())]
    async fn nor_this(n: Missing) {}
    #[task]
    #[cfg_attr(all(), doc = "Documented by a condition.")]
    async fn documented() {}

    #[allow(deprecated)]
    let name = old::NAME;
    assert_eq!(name, "old");
    assert_eq!(
        registration::<documented>().doc,
        "Documented by a condition."
    );
}
