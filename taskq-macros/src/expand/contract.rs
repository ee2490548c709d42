//! `implements`: what is taken from the contract, and that the function keeps it.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};

use super::{Expansion, ends, hygienic, locals};

impl Expansion<'_> {
    /// A member of the contract's `Task`, for a task that implements one.
    pub(super) fn of_contract(&self, member: &str) -> Option<TokenStream> {
        let Self { krate, .. } = self;
        let contract = self.options.implements.as_ref()?;
        let (first, last) = ends(contract);
        let member = Ident::new(member, last);
        let path = quote_spanned!(first=> <#contract as #krate::Task>::);
        Some(quote!(#path #member))
    }

    /// That the arguments and the result are the contract's, asked type by type, so
    /// that the one which differs is underlined.
    pub(super) fn contract_checks(&self) -> Option<TokenStream> {
        let contract_args = self.of_contract("Args")?;
        let contract_output = self.of_contract("Output")?;
        let contract_params = self.of_contract("PARAMS")?;
        let locals = locals(self.shape.payload().count());
        let pattern = quote_spanned!(self.shape.params_span=> (#(#locals,)*));
        let same = self.shape.payload().zip(&locals).map(|(payload, local)| {
            let ty = &payload.ty;
            let local = on(local, ends(ty));
            quote!(let _: #ty = #local;)
        });
        let output = self.returned("Output");
        let result = on(&hygienic("result"), ends(&self.shape.output));
        let args = hygienic("args");
        Some(quote! {
            fn __taskq_same_arguments(#args: #contract_args) {
                let #pattern = #args;
                #(#same)*
            }
            fn __taskq_same_output(#result: #output) -> #contract_output {
                #result
            }
            // A contract with fewer arguments is an error of the check above, and should
            // not be another one here.
            const fn __taskq_param(
                place: ::core::primitive::usize,
                own: &'static ::core::primitive::str,
            ) -> &'static ::core::primitive::str {
                let params = #contract_params;
                if place < params.len() {
                    params[place]
                } else {
                    own
                }
            }
        })
    }
}

/// The same identifier, underlined elsewhere.
fn on(ident: &Ident, (first, _): (Span, Span)) -> Ident {
    let mut ident = ident.clone();
    ident.set_span(ident.span().located_at(first));
    ident
}
