//! The options between the parentheses of `#[task(..)]`.

use std::time::Duration;

use proc_macro2::{TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Ident, Lit, LitStr, Path, Token, parse_quote};
use taskq_syntax::{
    Backoff, Cadence, Misfire, Overlap, Priority, Rate, SyntaxError, check_queue_name,
    check_task_name, nearest, parse_duration, time_zone,
};

use crate::diag::Errors;

/// Every option, with an example that is right.
const OPTIONS: [(&str, &str); 25] = [
    ("name", r#"name = "mail.send""#),
    ("queue", r#"queue = "email""#),
    ("retries", "retries = 5"),
    ("backoff", r#"backoff = "exponential(1s, max 5m)""#),
    ("retry_if", "retry_if = is_transient"),
    ("timeout", r#"timeout = "30s""#),
    ("deadline", r#"deadline = "10m""#),
    ("priority", r#"priority = "high""#),
    ("unique", r#"unique` or `unique = "1h""#),
    ("ttl", r#"ttl = "1h""#),
    ("schedule", r#"schedule = "0 9 * * MON-FRI""#),
    ("tz", r#"tz = "Europe/Berlin""#),
    ("overlap", r#"overlap = "skip""#),
    ("misfire", r#"misfire = "all(10m)""#),
    ("misfire_after", r#"misfire_after = "5m""#),
    ("jitter", r#"jitter = "30s""#),
    ("concurrency", "concurrency = 2"),
    ("rate", r#"rate = "10/s""#),
    ("burst", "burst = 5"),
    ("per", r#"per = "customer_id""#),
    ("weight", "weight = 3"),
    ("sensitive", "sensitive"),
    ("discover", "discover = false"),
    ("implements", "implements = contracts::resize"),
    ("crate", "crate = my_crate::taskq"),
];

/// The options about the body: the other side of a contract has none.
const WORKERS_OWN: [&str; 8] = [
    "retry_if",
    "schedule",
    "tz",
    "overlap",
    "misfire",
    "misfire_after",
    "jitter",
    "discover",
];

/// The options that say more of a schedule.
const OF_A_SCHEDULE: [&str; 5] = ["tz", "overlap", "misfire", "misfire_after", "jitter"];

/// What the options say. An option that was refused counts as not given, so that one
/// bad option does not hide the rest of the task.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) name: Option<String>,
    pub(crate) queue: Option<String>,
    pub(crate) retries: Option<u32>,
    pub(crate) backoff: Option<Backoff>,
    /// The function which tells the errors that are worth another attempt.
    pub(crate) retry_if: Option<Path>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) priority: Option<Priority>,
    pub(crate) unique: Option<Unique>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) schedule: Option<Cadence>,
    pub(crate) tz: Option<String>,
    pub(crate) overlap: Option<Overlap>,
    pub(crate) misfire: Option<Misfire>,
    pub(crate) misfire_after: Option<Duration>,
    pub(crate) jitter: Option<Duration>,
    pub(crate) concurrency: Option<u32>,
    pub(crate) rate: Option<Rate>,
    pub(crate) burst: Option<u32>,
    /// The argument that is the key of a call.
    pub(crate) per: Option<LitStr>,
    pub(crate) weight: Option<u32>,
    /// Whether nobody is to see what it is called with and what it returns.
    pub(crate) sensitive: bool,
    /// Whether workers find the task by themselves.
    pub(crate) discover: bool,
    /// The contract that this task is the body of.
    pub(crate) implements: Option<Path>,
    /// Where the library is, for a crate that re-exports it.
    pub(crate) krate: Path,
}

/// For how long a second equal call is not a second task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unique {
    UntilDone,
    For(Duration),
}

/// One option as it was written: `name`, or `name = value`.
struct Written {
    name: Ident,
    value: Option<TokenStream>,
}

impl Options {
    /// Reads the options of a task, or of a contract; what is wrong with any goes to
    /// `errors`.
    pub(crate) fn parse(tokens: TokenStream, contract: bool, errors: &mut Errors) -> Self {
        let mut options = Self {
            name: None,
            queue: None,
            retries: None,
            backoff: None,
            retry_if: None,
            timeout: None,
            deadline: None,
            priority: None,
            unique: None,
            ttl: None,
            schedule: None,
            tz: None,
            overlap: None,
            misfire: None,
            misfire_after: None,
            jitter: None,
            concurrency: None,
            rate: None,
            burst: None,
            per: None,
            weight: None,
            sensitive: false,
            discover: true,
            implements: None,
            krate: parse_quote!(::taskq),
        };
        let mut seen: Vec<Ident> = Vec::new();
        for part in split_at_commas(tokens) {
            let Some(written) = Written::parse(part, errors) else {
                continue;
            };
            if seen.contains(&written.name) {
                errors.at(
                    &written.name,
                    format!(
                        "option `{}` is given twice; keep one of the two",
                        written.name
                    ),
                );
                continue;
            }
            seen.push(written.name.clone());
            options.set(&written, errors);
        }
        options.divide(&seen, contract, errors);
        options.check_schedule(&seen, errors);
        if let Some(burst) = seen.iter().find(|name| *name == "burst")
            && !seen.iter().any(|name| name == "rate")
        {
            errors.at(
                burst,
                "option `burst` says how many may start at once within a rate, and there is none; \
                 add for example `rate = \"10/s\"`, or remove it",
            );
        }
        options
    }

    /// Refuses what is said of a schedule that is none, or not of this kind.
    fn check_schedule(&self, seen: &[Ident], errors: &mut Errors) {
        let is_scheduled = seen.iter().any(|name| name == "schedule");
        for name in seen {
            if !is_scheduled && OF_A_SCHEDULE.iter().any(|of| name == of) {
                errors.at(
                    name,
                    format!(
                        "option `{name}` says more of a schedule, and there is none; add for \
                         example `{}`, or remove `{name}`",
                        example("schedule")
                    ),
                );
            }
            if name == "tz" && matches!(self.schedule, Some(Cadence::Every(_))) {
                errors.at(
                    name,
                    "only a cron pattern has a time zone, and an interval is as long everywhere; \
                     remove `tz`",
                );
            }
        }
    }

    /// Refuses a key that is no argument.
    pub(crate) fn check_key(&self, arguments: &[&str], errors: &mut Errors) {
        let Some(per) = &self.per else { return };
        let name = per.value();
        if arguments.contains(&name.as_str()) {
            return;
        }
        let mend = match (nearest(&name, arguments.iter().copied()), arguments) {
            (Some(argument), _) => format!("did you mean `{argument}`?"),
            (None, []) => "it has none; remove `per`, or add the argument".to_owned(),
            (None, all) => {
                let all: Vec<String> = all.iter().map(|it| format!("`{it}`")).collect();
                format!("it has {}", all.join(", "))
            }
        };
        errors.at(
            per,
            format!("option `per` names an argument of the task, and `{name}` is none; {mend}"),
        );
    }

    /// Refuses what the other side of a contract has to say.
    fn divide(&self, seen: &[Ident], contract: bool, errors: &mut Errors) {
        let ours = |name: &Ident| WORKERS_OWN.iter().any(|own| name == own);
        if contract {
            if let Some(other) = &self.implements {
                errors.at(
                    other,
                    "a contract cannot implement a contract; give the function a body, or remove \
                     `implements`",
                );
            }
            for name in seen.iter().filter(|name| ours(name)) {
                errors.at(
                    name,
                    format!(
                        "option `{name}` is the worker's, which has the body, so it is no part of \
                         the contract; set it where the contract is implemented, beside \
                         `implements`"
                    ),
                );
            }
        } else if let Some(contract) = &self.implements {
            let contract = crate::text::of(contract);
            for name in seen
                .iter()
                .filter(|name| !ours(name) && *name != "implements" && *name != "crate")
            {
                errors.at(
                    name,
                    format!(
                        "option `{name}` belongs to the contract, so that producers and workers \
                         agree on it; remove it here and set it on `{contract}`"
                    ),
                );
            }
        }
    }

    fn set(&mut self, written: &Written, errors: &mut Errors) {
        let name = written.name.unraw().to_string();
        match name.as_str() {
            "name" => self.name = written.text(errors, checked(check_task_name)),
            "queue" => self.queue = written.text(errors, checked(check_queue_name)),
            "retries" => self.retries = written.number(errors),
            "backoff" => self.backoff = written.text(errors, str::parse),
            "retry_if" => self.retry_if = written.path(errors, "the path of a function"),
            "timeout" => self.timeout = written.text(errors, parse_duration),
            "deadline" => self.deadline = written.text(errors, parse_duration),
            "priority" => self.priority = written.text(errors, str::parse),
            "unique" => {
                self.unique = match written.value {
                    None => Some(Unique::UntilDone),
                    Some(_) => written.text(errors, parse_duration).map(Unique::For),
                }
            }
            "ttl" => self.ttl = written.text(errors, parse_duration),
            "schedule" => self.schedule = written.text(errors, str::parse),
            "tz" => {
                let zone = |name: &str| time_zone(name).map(|_| name.to_owned());
                self.tz = written.text(errors, zone);
            }
            "overlap" => self.overlap = written.text(errors, str::parse),
            "misfire" => self.misfire = written.text(errors, str::parse),
            "misfire_after" => self.misfire_after = written.text(errors, parse_duration),
            "jitter" => self.jitter = written.text(errors, parse_duration),
            "concurrency" => self.concurrency = written.count(errors),
            "rate" => self.rate = written.text(errors, str::parse),
            "burst" => self.burst = written.count(errors),
            "per" => {
                self.per = match written.literal(errors, "the name of an argument, as a text") {
                    Some(Lit::Str(name)) => Some(name),
                    Some(other) => {
                        written.refuse(errors, other, "the name of an argument, as a text");
                        None
                    }
                    None => None,
                }
            }
            "weight" => self.weight = written.count(errors),
            "sensitive" => {
                self.sensitive = match written.value {
                    None => true,
                    Some(_) => written.truth(errors).unwrap_or(false),
                }
            }
            "discover" => self.discover = written.truth(errors).unwrap_or(true),
            "implements" => self.implements = written.path(errors, "a path"),
            "crate" => {
                if let Some(path) = written.path(errors, "a path") {
                    self.krate = path;
                }
            }
            _ => {
                let all = OPTIONS.map(|(option, _)| option);
                let guess = match nearest(&name, all) {
                    Some(option) => format!("did you mean `{option}`? The options are"),
                    None => "the options are".to_owned(),
                };
                let all = all.map(|option| format!("`{option}`")).join(", ");
                errors.at(
                    &written.name,
                    format!("unknown option `{name}`; {guess}: {all}"),
                );
            }
        }
    }
}

impl Written {
    fn parse(part: TokenStream, errors: &mut Errors) -> Option<Self> {
        let whole = part.clone();
        let parser = |input: ParseStream<'_>| {
            let name = input.call(Ident::parse_any)?;
            let value = match input.parse::<Option<Token![=]>>()? {
                Some(_) => Some(input.parse()?),
                None => None,
            };
            Ok(Self { name, value })
        };
        match parser.parse2(part) {
            Ok(written) => Some(written),
            Err(_) => {
                let mend = match syn::parse2::<Lit>(whole.clone()) {
                    Ok(Lit::Str(_)) => "to name the task write `name = \"..\"`".to_owned(),
                    _ => {
                        let first = whole.clone().into_iter().next();
                        let name = first.map(|token| token.to_string()).unwrap_or_default();
                        format!("write for example `{}`", example(&name))
                    }
                };
                errors.at(
                    whole,
                    format!("an option is written `option = value`; {mend}"),
                );
                None
            }
        }
    }

    /// The value as a string literal, read by `read`.
    fn text<T>(
        &self,
        errors: &mut Errors,
        read: impl FnOnce(&str) -> Result<T, SyntaxError>,
    ) -> Option<T> {
        let literal = match self.literal(errors, "a text")? {
            Lit::Str(text) => text,
            other => {
                let name = &self.name;
                let unquoted = crate::text::of(&other);
                // `timeout = 30`: what is meant may be one pair of quotes away, or not.
                let mend = if read(&unquoted).is_ok() {
                    format!("{name} = \"{unquoted}\"")
                } else {
                    example(&name.to_string()).to_owned()
                };
                errors.at(
                    other,
                    format!("option `{name}` takes a text; write for example `{mend}`"),
                );
                return None;
            }
        };
        self.accept(errors, &literal, read(&literal.value()))
    }

    fn accept<T>(
        &self,
        errors: &mut Errors,
        literal: &LitStr,
        value: Result<T, SyntaxError>,
    ) -> Option<T> {
        value
            .map_err(|error| errors.at(literal, format!("option `{}`: {error}", self.name)))
            .ok()
    }

    /// The value as a whole number.
    fn number(&self, errors: &mut Errors) -> Option<u32> {
        let literal = self.literal(errors, "a whole number")?;
        let number = match &literal {
            Lit::Int(number) => number.base10_parse().ok(),
            _ => None,
        };
        if number.is_none() {
            let (name, most) = (&self.name, u32::MAX);
            errors.at(
                literal,
                format!(
                    "option `{name}` takes a whole number from 0 to {most}, without quotes; \
                     write for example `{}`",
                    example(&name.to_string())
                ),
            );
        }
        number
    }

    /// The value as a whole number above 0.
    fn count(&self, errors: &mut Errors) -> Option<u32> {
        let count = self.number(errors)?;
        if count == 0 {
            let name = self.name.to_string();
            errors.at(
                &self.value,
                format!(
                    "option `{name}` is 1 or more; write for example `{}`, or remove it",
                    example(&name)
                ),
            );
            return None;
        }
        Some(count)
    }

    /// The value as `true` or `false`.
    fn truth(&self, errors: &mut Errors) -> Option<bool> {
        let what = "`true` or `false`";
        match self.literal(errors, what)? {
            Lit::Bool(truth) => Some(truth.value),
            other => {
                self.refuse(errors, other, &format!("{what}, without quotes"));
                None
            }
        }
    }

    /// The value as one literal.
    fn literal(&self, errors: &mut Errors, what: &str) -> Option<Lit> {
        let value = self.value(errors, what)?;
        match syn::parse2(value.clone()) {
            Ok(literal) => Some(literal),
            Err(_) => {
                self.refuse(errors, value, what);
                None
            }
        }
    }

    /// The value as a path.
    fn path(&self, errors: &mut Errors, what: &str) -> Option<Path> {
        let value = self.value(errors, what)?;
        match Path::parse_mod_style.parse2(value.clone()) {
            Ok(path) => Some(path),
            Err(_) => {
                self.refuse(errors, value, &format!("{what}, without quotes"));
                None
            }
        }
    }

    fn value(&self, errors: &mut Errors, what: &str) -> Option<TokenStream> {
        match &self.value {
            Some(value) if !value.is_empty() => Some(value.clone()),
            _ => {
                self.refuse(errors, &self.name, what);
                None
            }
        }
    }

    fn refuse(&self, errors: &mut Errors, at: impl quote::ToTokens, what: &str) {
        let name = self.name.to_string();
        errors.at(
            at,
            format!(
                "option `{name}` takes {what}; write for example `{}`",
                example(&name)
            ),
        );
    }
}

/// A right use of the option, or of some option when there is none of this name.
fn example(name: &str) -> &'static str {
    OPTIONS
        .iter()
        .find(|(option, _)| *option == name)
        .map_or(r#"queue = "email""#, |(_, example)| example)
}

fn checked(
    check: fn(&str) -> Result<(), SyntaxError>,
) -> impl Fn(&str) -> Result<String, SyntaxError> {
    move |name| check(name).map(|()| name.to_owned())
}

/// The tokens between top-level commas, so that a malformed option ends at its comma
/// and the next is read all the same.
fn split_at_commas(tokens: TokenStream) -> Vec<TokenStream> {
    let mut parts = vec![TokenStream::new()];
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == ',' => parts.push(TokenStream::new()),
            token => {
                if let Some(part) = parts.last_mut() {
                    part.extend([token]);
                }
            }
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}
