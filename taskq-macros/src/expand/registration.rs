//! What a worker gets: the registration, and the function that makes a job of a message.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};

use super::{Expansion, hygienic, locals, options};
use crate::sig::Param;
use crate::text;

impl Expansion<'_> {
    /// The registration, for `Task::REGISTRATION` and, unless the author wants it named,
    /// for the program's list.
    pub(super) fn registration(&self) -> TokenStream {
        let Self {
            ident,
            krate,
            private,
            ..
        } = self;
        let run = self.run();
        let names = self.wire_names();
        let types = self.shape.payload().map(|payload| text::of(&payload.ty));
        let output = text::of(&self.shape.output);
        let injected = self.shape.injected();
        let blocking = self.item.sig.asyncness.is_none();
        let doc = text::first_paragraph(&self.item.attrs);
        let (predicate, retry_if) = self.retry_if();
        let schedule = options::schedule(self.options, private);
        let discovered = self
            .options
            .discover
            .then(|| quote!(#krate::__register_task!(__TASKQ_REGISTRATION);));
        // On the user's function, so that `file!` and `line!` tell its place.
        let place = quote_spanned! {ident.span()=>
            file: ::core::file!(),
            line: ::core::line!(),
            module: ::core::module_path!(),
        };
        quote! {
            #run
            #predicate

            const __TASKQ_REGISTRATION: #private::Registration = #private::Registration {
                name: <#ident as #krate::Task>::NAME,
                params: &[#(#private::Param { name: #names, ty: #types }),*],
                output: #output,
                options: <#ident as #krate::Task>::OPTIONS,
                schema: <#ident as #krate::Task>::SCHEMA,
                needs: &[#(<#injected as #private::Inject>::NEEDS),*],
                #place
                blocking: #blocking,
                doc: #doc,
                schedule: #schedule,
                retry_if: #retry_if,
                run: __taskq_run,
            };
            #discovered
        }
    }

    /// The predicate as a constant, and the registration's field. In a constant of its
    /// own, another type of function is one error, at the path that the user wrote.
    fn retry_if(&self) -> (Option<TokenStream>, TokenStream) {
        let Self { private, .. } = self;
        let Some(path) = &self.options.retry_if else {
            return (None, quote!(::core::option::Option::None));
        };
        let predicate = quote! {
            const __TASKQ_RETRY_IF: fn(&#private::TaskError) -> ::core::primitive::bool = #path;
        };
        (
            Some(predicate),
            quote!(::core::option::Option::Some(__TASKQ_RETRY_IF)),
        )
    }

    /// The function that makes a job of a message: decode the arguments, take what the
    /// worker supplies, and only then call, with all of it in the order of the
    /// parameters.
    fn run(&self) -> TokenStream {
        let Self {
            ident,
            krate,
            private,
            ..
        } = self;
        let (invocation, bound) = (hygienic("invocation"), hygienic("bound"));
        let locals = locals(self.shape.params.len());
        let (mut taken, mut injected) = (Vec::new(), Vec::new());
        for (local, param) in locals.iter().zip(&self.shape.params) {
            match param {
                Param::Payload(payload) => {
                    let (ty, place) = (&payload.ty, taken.len());
                    taken.push(quote!(let #local = <#ty as #private::Argument>::decode(&mut #bound, #place)?;));
                }
                Param::Injected(ty) => injected
                    .push(quote!(let #local = <#ty as #private::Inject>::inject(&#invocation)?;)),
            }
        }
        let mutable = (!taken.is_empty()).then(|| quote!(mut));
        let finish = self.returned("Finish", "finish");
        let call = quote_spanned!(ident.span()=> #ident(#(#locals),*));
        let job = if self.item.sig.asyncness.is_some() {
            quote!(future(#call, #finish))
        } else {
            quote!(blocking(move || #finish(#call)))
        };
        quote! {
            fn __taskq_run(
                #invocation: #private::Invocation,
            ) -> ::core::result::Result<#private::Job, #private::TaskError> {
                let #mutable #bound =
                    #private::Bound::new(&#invocation, <#ident as #krate::Task>::PARAMS)?;
                #(#taken)*
                #(#injected)*
                ::core::result::Result::Ok(#private::Job::#job)
            }
        }
    }
}
