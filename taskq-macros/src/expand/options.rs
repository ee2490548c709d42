//! The options as a constant expression.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote;
use taskq_syntax::{Backoff, BackoffKind, Misfire, Overlap, Priority};

use crate::args::{Options, Unique};
use crate::sig::Shape;

/// `TaskOptions::new()` with the options that were given set on it; the defaults are
/// the library's.
pub(super) fn write(options: &Options, shape: &Shape, private: &TokenStream) -> TokenStream {
    let mut set = quote!(#private::TaskOptions::new());
    if let Some(queue) = &options.queue {
        set.extend(quote!(.queue(#queue)));
    }
    if let Some(retries) = options.retries {
        set.extend(quote!(.retries(#retries)));
    }
    if let Some(it) = options.backoff {
        let it = backoff(it, private);
        set.extend(quote!(.backoff(#it)));
    }
    if let Some(timeout) = options.timeout {
        let timeout = duration(timeout, private);
        set.extend(quote!(.timeout(#timeout)));
    }
    if let Some(deadline) = options.deadline {
        let deadline = duration(deadline, private);
        set.extend(quote!(.deadline(#deadline)));
    }
    if let Some(it) = options.priority {
        let it = priority(it);
        set.extend(quote!(.priority(#private::Priority::#it)));
    }
    match options.unique {
        Some(Unique::UntilDone) => set.extend(quote!(.unique(#private::Unique::UntilDone))),
        Some(Unique::For(window)) => {
            let window = duration(window, private);
            set.extend(quote!(.unique(#private::Unique::For(#window))));
        }
        None => {}
    }
    if let Some(ttl) = options.ttl {
        let ttl = duration(ttl, private);
        set.extend(quote!(.ttl(#ttl)));
    }
    if let Some(concurrency) = options.concurrency {
        set.extend(quote!(.concurrency(#concurrency)));
    }
    if let Some(rate) = options.rate {
        let (count, per) = (rate.count(), duration(rate.per(), private));
        set.extend(quote!(.rate(#count, #per)));
    }
    if let Some(burst) = options.burst {
        set.extend(quote!(.burst(#burst)));
    }
    if let Some(per) = &options.per {
        set.extend(quote!(.per(#per)));
    }
    if let Some(weight) = options.weight {
        set.extend(quote!(.weight(#weight)));
    }
    if options.sensitive {
        set.extend(quote!(.sensitive()));
    }
    let mut hidden = shape
        .payload()
        .filter(|it| it.sensitive.is_some())
        .peekable();
    if !options.sensitive && hidden.peek().is_some() {
        let names = hidden.map(|it| &it.wire);
        set.extend(quote!(.sensitive_arguments(&[#(#names),*])));
    }
    set
}

/// The declared schedule as a constant expression of an `Option`.
pub(super) fn schedule(options: &Options, private: &TokenStream) -> TokenStream {
    let Some(cadence) = &options.schedule else {
        return quote!(::core::option::Option::None);
    };
    let when = cadence.to_string();
    let mut set = quote!(#private::Declaration::new(#when));
    if let Some(tz) = &options.tz {
        set.extend(quote!(.tz(#tz)));
    }
    if let Some(overlap) = options.overlap {
        let it = match overlap {
            Overlap::Allow => quote!(Allow),
            Overlap::Skip => quote!(Skip),
            Overlap::QueueOne => quote!(QueueOne),
            Overlap::Replace => quote!(Replace),
        };
        set.extend(quote!(.overlap(#private::Overlap::#it)));
    }
    if let Some(misfire) = options.misfire {
        let it = match misfire {
            Misfire::Skip => quote!(Skip),
            Misfire::Once => quote!(Once),
            Misfire::All(window) => {
                let window = duration(window, private);
                quote!(All(#window))
            }
        };
        set.extend(quote!(.misfire(#private::Misfire::#it)));
    }
    if let Some(after) = options.misfire_after {
        let after = duration(after, private);
        set.extend(quote!(.misfire_after(#after)));
    }
    if let Some(jitter) = options.jitter {
        let jitter = duration(jitter, private);
        set.extend(quote!(.jitter(#jitter)));
    }
    quote!(::core::option::Option::Some(#set))
}

fn duration(duration: Duration, private: &TokenStream) -> TokenStream {
    let (secs, nanos) = (duration.as_secs(), duration.subsec_nanos());
    quote!(#private::Duration::new(#secs, #nanos))
}

fn backoff(backoff: Backoff, private: &TokenStream) -> TokenStream {
    let kind = match backoff.kind() {
        BackoffKind::Constant => quote!(constant),
        BackoffKind::Linear => quote!(linear),
        BackoffKind::Exponential => quote!(exponential),
    };
    let base = duration(backoff.base(), private);
    let mut built = quote!(#private::Backoff::#kind(#base));
    if let Some(max) = backoff.max_delay() {
        let max = duration(max, private);
        built.extend(quote!(.max(#max)));
    }
    if !backoff.has_jitter() {
        built.extend(quote!(.without_jitter()));
    }
    built
}

fn priority(priority: Priority) -> TokenStream {
    match priority {
        Priority::Low => quote!(Low),
        Priority::Normal => quote!(Normal),
        Priority::High => quote!(High),
        Priority::Critical => quote!(Critical),
    }
}
