//! What `#[task]` writes: the function as it was, the type that names the task, and in
//! one `const` block everything that hangs on the type.
//!
//! Three rules keep mistakes readable. What a type must be able to do is asked of it
//! with the span of that very type, so that the compiler underlines what the user
//! wrote. Every such question is asked in the same words wherever it must be asked
//! again, since the compiler tells two equal errors once. And the function is written
//! in every case, the type whenever it can be, so that one mistake is not an error at
//! each use.

mod contract;
mod options;
mod registration;
mod schema;
#[cfg(test)]
mod tests;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::Attribute;

use crate::args::Options;
use crate::diag::Errors;
use crate::sig::refuse;
use crate::sig::{Item, Payload, Shape};

/// Expands `#[task(options)] item`.
pub(crate) fn task(options: TokenStream, tokens: &TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let mut item: Item = match syn::parse2(tokens.clone()) {
        Ok(item) => item,
        Err(error) => {
            refuse::other_item(tokens.clone(), error, &mut errors);
            let errors = errors.into_tokens();
            return quote!(#errors #tokens);
        }
    };

    let shape = Shape::analyse(&mut item, &mut errors);
    let shape_is_good = errors.is_empty();
    let options = Options::parse(options, item.body.is_none(), &mut errors);
    if options.schedule.is_some() {
        for Payload { ident, ty, .. } in shape.payload() {
            errors.at(
                ty,
                format!(
                    "a task with a schedule takes no arguments, since nobody is there to give \
                     them; let the worker supply `{ident}` (`State<..>`, `Context`, `#[inject]`), \
                     or remove `schedule` and set one with arguments: `client.schedule(\"..\", \
                     {}::call(..))`",
                    shape.name
                ),
            );
        }
    }
    if shape_is_good {
        let arguments: Vec<&str> = shape.payload().map(|it| it.wire.as_str()).collect();
        options.check_key(&arguments, &mut errors);
        check_sensitive(&shape, &options, &mut errors);
    }

    // A contract has no body, and a method is part of something that is not seen here.
    let function = (item.body.is_some() || item.is_method()).then_some(&item);
    let misplaced = item.is_method() || refuse::is_primitive(&shape.name);
    let marker = (!misplaced).then(|| marker(&item, &shape.name));
    let block = shape_is_good.then(|| Expansion::new(&item, &shape, &options).block());
    // A task owns its arguments, and is `async` for the runtime's sake: neither is the
    // author's choice, so clippy should not ask for another.
    let allow =
        function.map(|_| quote!(#[allow(clippy::needless_pass_by_value, clippy::unused_async)]));
    let errors = errors.into_tokens();
    quote! { #errors #allow #function #marker #block }
}

/// Refuses what would be hidden and is not this task's to hide, or is seen elsewhere.
fn check_sensitive(shape: &Shape, options: &Options, errors: &mut Errors) {
    for Payload {
        sensitive, wire, ..
    } in shape.payload()
    {
        let Some(sensitive) = sensitive else { continue };
        if let Some(contract) = &options.implements {
            let contract = crate::text::of(contract);
            errors.at(
                sensitive,
                format!(
                    "what is hidden belongs to the contract, so that producers and workers agree \
                     on it; remove it here and set it on `{contract}`"
                ),
            );
        }
        if options.per.as_ref().is_some_and(|per| per.value() == *wire) {
            errors.at(
                sensitive,
                format!(
                    "whoever looks at a queue sees the keys that its tasks wait by, so the key \
                     `{wire}` cannot be hidden; name another argument in `per`, or remove \
                     `#[sensitive]`"
                ),
            );
        }
    }
}

/// The uninhabited type with the function's name. Functions and types have separate
/// namespaces, so the two share the name.
fn marker(item: &Item, name: &str) -> TokenStream {
    let kept = item
        .attrs
        .iter()
        .filter(|attr| is_one_of(attr, &["doc", "cfg", "deprecated"]));
    let documented = item.attrs.iter().any(|attr| is_one_of(attr, &["doc"]));
    let doc = (!documented).then(|| {
        let doc = format!(" Names the task `{name}`.");
        quote!(#[doc = #doc])
    });
    let (vis, ident) = (&item.vis, &item.sig.ident);
    quote! {
        #(#kept)*
        #doc
        #[allow(
            non_camel_case_types,
            missing_debug_implementations,
            missing_copy_implementations,
            unreachable_pub,
            dead_code,
            clippy::all,
            clippy::pedantic,
            clippy::nursery
        )]
        #vis enum #ident {}
    }
}

/// What the block is written from.
struct Expansion<'a> {
    item: &'a Item,
    shape: &'a Shape,
    options: &'a Options,
    /// The name that the function and the type share.
    ident: &'a Ident,
    /// The library.
    krate: &'a syn::Path,
    /// What the library keeps for this macro only, imported in the block.
    private: TokenStream,
}

impl<'a> Expansion<'a> {
    fn new(item: &'a Item, shape: &'a Shape, options: &'a Options) -> Self {
        let krate = &options.krate;
        Self {
            item,
            shape,
            options,
            ident: &item.sig.ident,
            krate,
            private: quote!(__taskq),
        }
    }

    /// The `const` block: nothing in it can be named from outside, and no import of it
    /// leaks. Its own items start with `__taskq`, since they would hide the user's.
    fn block(&self) -> TokenStream {
        let Self { krate, private, .. } = self;
        let cfgs = self
            .item
            .attrs
            .iter()
            .filter(|attr| is_one_of(attr, &["cfg"]));
        let output = &self.shape.output;
        let checks = self.contract_checks();
        let task = self.task_impl();
        let inherent = self.inherent_impl();
        let registration = self.item.body.as_ref().map(|_| self.registration());
        quote! {
            #(#cfgs)*
            #[doc(hidden)]
            #[allow(
                deprecated,
                dead_code,
                unreachable_pub,
                unused_imports,
                unused_qualifications,
                nonstandard_style,
                private_interfaces,
                clippy::all,
                clippy::pedantic,
                clippy::nursery
            )]
            const _: () = {
                use #krate::__private as #private;
                use #private::{AnySchema as _, PlainReturn as _};

                // The inherent constant of a `Result` wins over the trait's, which any
                // type has: so it is told by the type, under any name.
                const __TASKQ_FALLIBLE: ::core::primitive::bool =
                    #private::ReturnProbe::<#output>::FALLIBLE;

                #checks
                #task
                #inherent
                #registration
            };
        }
    }

    fn task_impl(&self) -> TokenStream {
        let Self {
            ident,
            krate,
            private,
            ..
        } = self;
        let name = self.of_contract("NAME").unwrap_or_else(|| {
            let name = self.options.name.as_ref().unwrap_or(&self.shape.name);
            quote!(#name)
        });
        let params = self.of_contract("PARAMS").unwrap_or_else(|| {
            let names = self.wire_names();
            quote!(&[#(#names),*])
        });
        let options = self
            .of_contract("OPTIONS")
            .unwrap_or_else(|| options::write(self.options, self.shape, private));
        let schema = self.of_contract("SCHEMA").unwrap_or_else(|| self.schema());
        let registration = self.item.body.as_ref().map(|_| {
            quote! {
                const REGISTRATION: ::core::option::Option<&'static #private::Registration> =
                    #krate::__registration!(__TASKQ_REGISTRATION);
            }
        });
        let types = self.shape.payload().map(|payload| &payload.ty);
        let args = quote_spanned!(self.shape.params_span=> type Args = (#(#types,)*););
        let output = self.returned("TaskReturn", "Output");
        let encode = self.encode();
        quote! {
            #[automatically_derived]
            impl #krate::Task for #ident {
                const NAME: &'static ::core::primitive::str = #name;
                const PARAMS: &'static [&'static ::core::primitive::str] = #params;
                const OPTIONS: #private::TaskOptions = #options;
                const SCHEMA: #private::TaskSchema = #schema;
                #registration
                #args
                type Output = #output;
                #encode
            }
        }
    }

    fn encode(&self) -> TokenStream {
        let Self { private, .. } = self;
        let names = self.wire_names();
        let types = self.shape.payload().map(|payload| &payload.ty);
        let count = names.len();
        let locals = locals(count);
        let (args, arguments) = (hygienic("args"), hygienic("arguments"));
        let mutable = (count > 0).then(|| quote!(mut));
        quote! {
            fn encode(
                #args: Self::Args,
            ) -> ::core::result::Result<#private::Arguments, #private::Error> {
                let (#(#locals,)*) = #args;
                let #mutable #arguments = #private::Arguments::named(#count);
                #(<#types as #private::Argument>::encode(&#locals, &mut #arguments, #names)?;)*
                ::core::result::Result::Ok(#arguments)
            }
        }
    }

    /// `NAME`, `call` and `enqueue`, which work without an import of the trait.
    fn inherent_impl(&self) -> TokenStream {
        let Self {
            ident,
            krate,
            private,
            ..
        } = self;
        let name = self.options.name.as_ref().unwrap_or(&self.shape.name);
        let call_doc = format!(
            " A call of the task `{name}` with these arguments, not yet sent: set what differs \
             from the task's defaults, then `.enqueue(&client)`."
        );
        let enqueue_doc = format!(
            " Sends a call of the task `{name}` with these arguments and the task's defaults."
        );
        let names: Vec<&Ident> = self.shape.payload().map(|payload| &payload.ident).collect();
        let (mut params, mut values) = (Vec::new(), Vec::new());
        for Payload {
            ident,
            ty,
            is_string,
            ..
        } in self.shape.payload()
        {
            if *is_string {
                params.push(quote!(#ident: impl ::core::convert::Into<#ty>));
                values.push(quote!(::core::convert::Into::<#ty>::into(#ident)));
            } else {
                params.push(quote!(#ident: #ty));
                values.push(quote!(#ident));
            }
        }
        let client = hygienic("client");
        quote! {
            #[automatically_derived]
            impl #ident {
                /// The name of the task on the wire.
                pub const NAME: &'static ::core::primitive::str = <Self as #krate::Task>::NAME;

                #[doc = #call_doc]
                pub fn call(#(#params),*) -> #private::Call<Self> {
                    #private::Call::<Self>::new((#(#values,)*))
                }

                #[doc = #enqueue_doc]
                pub fn enqueue<'a>(
                    #client: &'a #private::Client,
                    #(#params),*
                ) -> #private::Enqueue<'a, <Self as #krate::Task>::Output> {
                    Self::call(#(#names),*).enqueue(#client)
                }
            }
        }
    }

    /// The arguments' names on the wire, as expressions.
    fn wire_names(&self) -> Vec<TokenStream> {
        let implements = self.options.implements.is_some();
        self.shape
            .payload()
            .enumerate()
            .map(|(place, Payload { wire, .. })| match implements {
                true => quote!(__taskq_param(#place, #wire)),
                false => quote!(#wire),
            })
            .collect()
    }

    /// A member of one of the return type's traits, spanned on the whole return type.
    fn returned(&self, of: &str, member: &str) -> TokenStream {
        let Self { private, .. } = self;
        let output = &self.shape.output;
        let (first, last) = ends(output);
        let (of, member) = (Ident::new(of, first), Ident::new(member, last));
        let path = quote_spanned!(first=> <#output as #private::#of<__TASKQ_FALLIBLE>>::);
        quote!(#path #member)
    }
}

/// The spans of the first and the last token. The compiler underlines from the one to
/// the other, which is how generated code comes to stand on a whole type.
fn ends(tokens: impl ToTokens) -> (Span, Span) {
    let mut tokens = tokens.to_token_stream().into_iter();
    let first = tokens
        .next()
        .map_or_else(Span::call_site, |token| token.span());
    let last = tokens.last().map_or(first, |token| token.span());
    (first, last)
}

/// A name that no name of the user's can meet, whatever they call their parameters.
fn hygienic(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

fn locals(count: usize) -> Vec<Ident> {
    (0..count)
        .map(|place| format_ident!("arg{place}", span = Span::mixed_site()))
        .collect()
}

fn is_one_of(attr: &Attribute, names: &[&str]) -> bool {
    names.iter().any(|name| attr.path().is_ident(name))
}
