//! Whole expansions, kept as files under `tests/expand/`, so that a change of what the
//! macro writes is seen in review. `UPDATE_EXPANSIONS=1 cargo test -p taskq-macros`
//! rewrites them.

use proc_macro2::TokenStream;
use quote::quote;

fn expansion(options: TokenStream, item: &TokenStream) -> String {
    let source = format!("#[task({options})]\n{item}");
    let expanded = super::task(options, item);
    let file = syn::parse2(expanded).unwrap_or_else(|error| panic!("{source}\n{error}"));
    prettyplease::unparse(&file)
}

#[track_caller]
fn assert_expands(name: &str, options: TokenStream, item: &TokenStream) {
    let expanded = expansion(options, item);
    let path = format!("{}/tests/expand/{name}.rs", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_EXPANSIONS").is_some() {
        return std::fs::write(path, expanded).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == expanded,
        "{path} differs; if it should, run with UPDATE_EXPANSIONS=1. The expansion is now:\n{expanded}"
    );
}

#[test]
fn a_plain_task() {
    assert_expands(
        "plain",
        quote!(),
        &quote! {
            /// Converts a string to uppercase.
            pub async fn to_uppercase(text: String) -> String {
                text.to_uppercase()
            }
        },
    );
}

#[test]
fn a_blocking_task_with_options_and_injected_parameters() {
    assert_expands(
        "options",
        quote! {
            name = "mail.send", queue = "email", retries = 5,
            backoff = "exponential(1s, max 5m, no jitter)", retry_if = errors::is_transient,
            timeout = "30s", deadline = "10m", priority = "high", unique = "1h", ttl = "1.5s", crate = my_crate::taskq
        },
        &quote! {
            #[cfg(unix)]
            #[deprecated]
            #[inline]
            pub(crate) fn send_email(
                ctx: taskq::Context,
                mut message: Email,
                State(mailer): State<Mailer>,
                r#type: Option<u8>,
                #[inject] _clock: Clock,
            ) -> Result<Receipt, SendError> {
                mailer.send(message)
            }
        },
    );
}

#[test]
fn a_contract() {
    assert_expands(
        "contract",
        quote!(name = "images.resize", queue = "cpu", unique),
        &quote! {
            /// Makes a thumbnail.
            pub async fn resize(url: String, width: u32) -> Result<Thumb, TaskError>;
        },
    );
}

#[test]
fn an_implementation_of_a_contract() {
    assert_expands(
        "implements",
        quote!(
            implements = contracts::resize,
            retry_if = is_transient,
            discover = false
        ),
        &quote! {
            async fn resize(url: String, db: State<Db>, width: u32) -> Result<Thumb, TaskError> {
                todo!()
            }
        },
    );
}

#[test]
fn a_scheduled_task() {
    assert_expands(
        "schedule",
        quote!(
            schedule = "0 9 * * MON-FRI",
            tz = "Europe/Berlin",
            overlap = "queue one",
            misfire = "all(10m)",
            misfire_after = "5m",
            jitter = "30s"
        ),
        &quote! {
            async fn report(ctx: Context, db: State<Db>) {
                todo!()
            }
        },
    );
}

#[test]
fn the_function_and_the_type_are_written_in_spite_of_errors() {
    let expanded = expansion(
        quote!(retires = 3),
        &quote! {
            /// Counts.
            async fn count<T>(text: &T, #[inject] clock: Clock) -> usize { text.len() }
        },
    );
    assert!(expanded.contains("unknown option `retires`; did you mean `retries`?"));
    assert!(expanded.contains("cannot be generic"));
    assert!(expanded.contains("cannot be a reference"));
    assert!(expanded.contains("async fn count<T>(text: &T, clock: Clock) -> usize {"));
    assert!(expanded.contains("enum count {}"));
    assert!(!expanded.contains("const _"));
}

#[test]
fn a_bad_option_leaves_the_task_usable() {
    let expanded = expansion(
        quote!(retries = "5", queue = "cpu"),
        &quote!(
            fn count() {}
        ),
    );
    assert!(expanded.contains("takes a whole number"));
    assert!(expanded.contains(".queue(\"cpu\")"));
    assert!(expanded.contains("pub fn enqueue"));
}

#[test]
fn limits_by_key_are_written_down() {
    let expanded = expansion(
        quote!(
            concurrency = 2,
            rate = "10/s",
            burst = 5,
            per = "customer_id",
            weight = 3
        ),
        &quote!(
            async fn import(customer_id: u64) {}
        ),
    );
    for part in [
        ".concurrency(2u32)",
        ".rate(10u32,",
        ".burst(5u32)",
        ".per(\"customer_id\")",
        ".weight(3u32)",
    ] {
        assert!(expanded.contains(part), "lacks {part}: {expanded}");
    }
}

#[test]
fn a_wrong_limit_is_told_with_its_mend() {
    for (options, says) in [
        (
            quote!(concurrency = 1, per = "custmer_id"),
            "`custmer_id` is none; did you mean `customer_id`?",
        ),
        (
            quote!(concurrency = 1, per = "x"),
            "`x` is none; it has `customer_id`",
        ),
        (quote!(concurrency = 0), "option `concurrency` is 1 or more"),
        (quote!(burst = 5), "there is none; add for example `rate = "),
        (quote!(rate = "often"), "`often` is not a rate"),
        (quote!(rate = 10), "option `rate` takes a text"),
        (
            quote!(concurrency = 1, per = customer_id),
            "option `per` takes the name of an argument",
        ),
    ] {
        let shown = options.to_string();
        let expanded = expansion(
            options,
            &quote!(
                async fn import(customer_id: u64) {}
            ),
        );
        let told = expanded.replace("\\\"", "\"");
        assert!(told.contains(says), "{shown} does not say {says:?}: {told}");
    }
}
