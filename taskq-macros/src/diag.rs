//! Errors: all of them at once, each where it belongs.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;

/// The errors found so far.
///
/// A user who mended one error should not meet the next only then, so nothing here
/// stops at the first.
#[derive(Debug, Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    /// Adds an error that underlines `tokens`. The sentence says what is wrong, why,
    /// and the mend.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, sentence: impl std::fmt::Display) {
        self.push(syn::Error::new_spanned(tokens, sentence));
    }

    /// Adds an error at one span.
    pub(crate) fn at_span(&mut self, span: Span, sentence: impl std::fmt::Display) {
        self.push(syn::Error::new(span, sentence));
    }

    /// Adds an error of syn's.
    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The `compile_error!`s, or nothing when there is no error.
    pub(crate) fn into_tokens(self) -> TokenStream {
        self.0
            .map(|errors| errors.to_compile_error())
            .unwrap_or_default()
    }
}
