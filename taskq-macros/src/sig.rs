//! The annotated function: what it takes, what it gives, and why it cannot be a task.

pub(crate) mod refuse;

use proc_macro2::{Group, Span, TokenStream};
use quote::{ToTokens, TokenStreamExt as _};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned as _;
use syn::{
    Attribute, FnArg, Ident, Meta, Pat, PatType, Path, PathArguments, ReturnType, Signature, Token,
    Type, Visibility, parse_quote,
};

use crate::diag::Errors;
use crate::text;

/// A function, or the signature of one. The body is kept as it was written: the macro
/// has no business in it, and half-typed code in an editor should not confuse it.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    /// `None` for a contract, which ends with a semicolon.
    pub(crate) body: Option<Group>,
}

impl Parse for Item {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let sig = input.parse()?;
        let body = match input.parse::<Option<Token![;]>>()? {
            Some(_) => None,
            None => Some(input.parse()?),
        };
        Ok(Self {
            attrs,
            vis,
            sig,
            body,
        })
    }
}

impl ToTokens for Item {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.append_all(&self.attrs);
        self.vis.to_tokens(tokens);
        self.sig.to_tokens(tokens);
        match &self.body {
            Some(body) => body.to_tokens(tokens),
            None => Token![;](self.sig.span()).to_tokens(tokens),
        }
    }
}

impl Item {
    /// Whether it stands in an `impl` or a trait.
    pub(crate) fn is_method(&self) -> bool {
        matches!(self.sig.inputs.first(), Some(FnArg::Receiver(_)))
    }
}

/// What a task's expansion needs to know of the function.
#[derive(Debug)]
pub(crate) struct Shape {
    /// The function's name without `r#`, which is the task's default name.
    pub(crate) name: String,
    pub(crate) params: Vec<Param>,
    /// The return type, `()` when none is written.
    pub(crate) output: Type,
    /// Where to report that the parameters do not fit.
    pub(crate) params_span: Span,
}

/// A parameter, in its place.
#[derive(Debug)]
pub(crate) enum Param {
    /// Sent with the call.
    Payload(Payload),
    /// Supplied by the worker.
    Injected(Type),
}

/// A parameter that is sent with the call.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) ident: Ident,
    /// Its name on the wire: the identifier without `r#`.
    pub(crate) wire: String,
    pub(crate) ty: Type,
    /// Whether the type is written `String`, so that `call` can take `&str` for it.
    pub(crate) is_string: bool,
    /// What its documentation says.
    pub(crate) doc: String,
    /// The `#[sensitive]`, if nobody is to see its value.
    pub(crate) sensitive: Option<TokenStream>,
}

impl Shape {
    /// Analyses the signature, and takes off it what only this macro understands: the
    /// `#[inject]`s, the `#[sensitive]`s and the documentation of arguments. Every reason why it
    /// cannot be a task's goes to `errors`; the shape is of use only if there is none.
    pub(crate) fn analyse(item: &mut Item, errors: &mut Errors) -> Self {
        let contract = item.body.is_none();
        let name = item.sig.ident.unraw().to_string();
        refuse::function(&item.sig, &name, errors);

        let mut params = Vec::new();
        for input in &mut item.sig.inputs {
            match input {
                FnArg::Receiver(receiver) => refuse::receiver(receiver, errors),
                FnArg::Typed(input) => params.extend(Param::analyse(input, contract, errors)),
            }
        }
        let output = match &item.sig.output {
            ReturnType::Default => parse_quote!(()),
            ReturnType::Type(_, ty) => {
                refuse::output(ty, errors);
                (**ty).clone()
            }
        };
        Self {
            name,
            params,
            output,
            params_span: item.sig.paren_token.span.join(),
        }
    }

    pub(crate) fn payload(&self) -> impl Iterator<Item = &Payload> {
        self.params.iter().filter_map(|param| match param {
            Param::Payload(payload) => Some(payload),
            Param::Injected(_) => None,
        })
    }

    pub(crate) fn injected(&self) -> impl Iterator<Item = &Type> {
        self.params.iter().filter_map(|param| match param {
            Param::Payload(_) => None,
            Param::Injected(ty) => Some(ty),
        })
    }
}

impl Param {
    fn analyse(input: &mut PatType, contract: bool, errors: &mut Errors) -> Option<Self> {
        let inject = take(&mut input.attrs, "inject");
        let sensitive = take(&mut input.attrs, "sensitive");
        let doc = take(&mut input.attrs, "doc");
        without_more(
            &inject,
            "the worker finds the value by the parameter's type",
            errors,
        );
        without_more(&sensitive, "the whole value is hidden", errors);
        if let Some(cfg) = input.attrs.iter().find(|attr| is_cfg(attr)) {
            errors.at(
                cfg,
                "a task's parameter cannot be conditional: producers and workers, built with \
                 different features, would disagree on the arguments; make it an `Option`, or put \
                 the `#[cfg]` on the whole function",
            );
            return None;
        }
        if !inject.is_empty() || is_injected(&input.ty) {
            // Its pattern may be any: the worker supplies it by its type, not by name.
            if contract {
                errors.at(
                    &*input,
                    format!(
                        "`{}` is supplied by the worker, so it is no part of the contract; take it \
                         where the contract is implemented",
                        text::of(&input.ty)
                    ),
                );
            }
            if let Some(sensitive) = sensitive.first() {
                errors.at(
                    sensitive,
                    "what the worker supplies is not sent, so there is nothing to hide; remove \
                     `#[sensitive]`",
                );
            }
            refuse::injected(&input.ty, errors);
            return Some(Self::Injected((*input.ty).clone()));
        }
        refuse::payload(&input.pat, &input.ty, errors);
        let ident = argument_name(&input.pat, &input.ty, errors)?;
        Some(Self::Payload(Payload {
            wire: ident.unraw().to_string(),
            is_string: is_string(&input.ty),
            ident,
            ty: (*input.ty).clone(),
            doc: text::paragraphs(&doc),
            sensitive: sensitive.first().map(ToTokens::to_token_stream),
        }))
    }
}

/// The name of an argument, which the call sends with it.
fn argument_name(pat: &Pat, ty: &Type, errors: &mut Errors) -> Option<Ident> {
    match pat {
        Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => {
            return Some(pat.ident.clone());
        }
        Pat::Wild(_) => errors.at(
            pat,
            format!(
                "an argument is sent by its name, and `_` is none; write for example `_unused: {}`",
                text::of(ty)
            ),
        ),
        _ => errors.at(
            pat,
            format!(
                "an argument is sent by its name, so it cannot be a pattern; write for example \
                 `value: {}` and take it apart in the body",
                text::of(ty)
            ),
        ),
    }
    None
}

/// Removes the attributes of a name, and gives them.
fn take(attrs: &mut Vec<Attribute>, name: &str) -> Vec<Attribute> {
    attrs
        .extract_if(.., |attr| attr.path().is_ident(name))
        .collect()
}

/// Refuses what is said in an attribute that says it all by its name.
fn without_more(attrs: &[Attribute], why: &str, errors: &mut Errors) {
    for attr in attrs {
        if !matches!(attr.meta, Meta::Path(_)) {
            let name = text::of(attr.path());
            errors.at(
                attr,
                format!("`#[{name}]` takes nothing: {why}; write `#[{name}]`"),
            );
        }
    }
}

pub(crate) fn is_cfg(attr: &Attribute) -> bool {
    attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr")
}

/// `Context`, and `State<..>` with its type, under any path.
fn is_injected(ty: &Type) -> bool {
    path_of(ty)
        .and_then(|path| path.segments.last())
        .is_some_and(|segment| match &segment.arguments {
            PathArguments::None => segment.ident == "Context",
            PathArguments::AngleBracketed(_) => segment.ident == "State",
            PathArguments::Parenthesized(_) => false,
        })
}

/// `String`, by itself or as `std` or `alloc` have it.
fn is_string(ty: &Type) -> bool {
    let Some(path) = path_of(ty) else {
        return false;
    };
    let words: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    path.segments.iter().all(|s| s.arguments.is_none())
        && matches!(
            words[..],
            ["String"] | ["std" | "alloc", "string", "String"]
        )
}

/// The path that a type is, also when a `macro_rules!` or parentheses wrapped it.
fn path_of(ty: &Type) -> Option<&Path> {
    match ty {
        Type::Path(ty) if ty.qself.is_none() => Some(&ty.path),
        Type::Group(ty) => path_of(&ty.elem),
        Type::Paren(ty) => path_of(&ty.elem),
        _ => None,
    }
}
