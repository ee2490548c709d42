//! `implements`: what is taken from the contract, and that the function keeps it.

use proc_macro2::{Ident, TokenStream};
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
        let Self { private, .. } = self;
        let contract_args = self.of_contract("Args")?;
        let contract_output = self.of_contract("Output")?;
        let contract_params = self.of_contract("PARAMS")?;
        let (args, result) = (hygienic("args"), hygienic("result"));
        let output = self.returned("TaskReturn", "Output");
        let locals = locals(self.shape.payload().count());
        let pattern = quote_spanned!(self.shape.params_span=> (#(#locals,)*));
        let types = self.shape.payload().map(|payload| &payload.ty);
        Some(quote! {
            fn __taskq_same_signature(#args: #contract_args, #result: #contract_output) {
                let #pattern = #args;
                #(#private::Declared::of(#locals).same_as::<#types>();)*
                #private::Declared::of(#result).same_as::<#output>();
            }
            const fn __taskq_param(
                place: ::core::primitive::usize,
                own: &'static ::core::primitive::str,
            ) -> &'static ::core::primitive::str {
                let params = #contract_params;
                // A contract with fewer arguments is an error of the check above, and
                // should not be another one here.
                if place < params.len() {
                    params[place]
                } else {
                    own
                }
            }
        })
    }
}
