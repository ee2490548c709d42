//! What the arguments and the result look like, as far as their types tell.

use proc_macro2::TokenStream;
use quote::quote;

use super::Expansion;

impl Expansion<'_> {
    /// The schemas as a constant expression. It holds functions only: a schema is made
    /// when somebody asks for it.
    ///
    /// The inherent constant of a type that has a schema wins over the trait's, which
    /// any type has: so a type needs none.
    pub(super) fn schema(&self) -> TokenStream {
        let Self { private, .. } = self;
        let params = self.shape.payload().map(|payload| {
            let (name, doc, ty) = (&payload.wire, &payload.doc, &payload.ty);
            let hidden = self.options.sensitive || payload.sensitive.is_some();
            quote! {
                #private::ParamSchema {
                    name: #name,
                    doc: #doc,
                    sensitive: #hidden,
                    is_optional: <#ty as #private::Argument>::is_optional,
                    schema: #private::SchemaProbe::<#ty>::SCHEMA,
                }
            }
        });
        let output = self.returned("TaskReturn", "Output");
        quote! {
            #private::TaskSchema {
                params: ::core::option::Option::Some(&[#(#params),*]),
                result: #private::SchemaProbe::<#output>::SCHEMA,
            }
        }
    }
}
