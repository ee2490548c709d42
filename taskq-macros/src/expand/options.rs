//! The options as a constant expression.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote;
use taskq_syntax::{Backoff, BackoffKind, Priority};

use crate::args::{Options, Unique};

/// `TaskOptions::new()` with the options that were given set on it; the defaults are
/// the library's.
pub(super) fn write(options: &Options, private: &TokenStream) -> TokenStream {
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
    set
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
