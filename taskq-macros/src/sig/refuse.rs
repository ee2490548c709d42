//! Why a function cannot be a task: each reason with the mend.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit::{self, Visit};
use syn::{
    GenericParam, Lifetime, Pat, Receiver, Safety, Signature, Type, TypeFnPtr, TypeImplTrait,
    TypeInfer, TypeNever, TypeReference,
};

use crate::diag::Errors;
use crate::text;

/// What is wrong with the function as a whole.
pub(super) fn function(sig: &Signature, name: &str, errors: &mut Errors) {
    if let Some(keyword) = &sig.constness {
        errors.at(
            keyword,
            "a task cannot be `const`: it runs on a worker; remove `const`",
        );
    }
    if let Safety::Unsafe(keyword) = &sig.safety {
        errors.at(
            keyword,
            "a task cannot be `unsafe`: no one at the worker could keep its promises; make it a \
             safe function, with the `unsafe` inside and the checks before it",
        );
    }
    if let Some(abi) = &sig.abi {
        errors.at(
            abi,
            "a task cannot be `extern`: the worker calls it as a Rust function; remove the ABI",
        );
    }
    if let Some(variadic) = &sig.variadic {
        errors.at(
            variadic,
            "a task cannot be variadic: its arguments are known by name; take a `Vec`",
        );
    }
    let generics = &sig.generics;
    let lifetimes_only = generics
        .params
        .iter()
        .all(|param| matches!(param, GenericParam::Lifetime(_)));
    if generics.params.is_empty() {
        if let Some(clause) = &generics.where_clause {
            errors.at(
                clause,
                format!(
                    "task `{name}` cannot have a `where` clause: its types are concrete, so there \
                     is nothing to ask of them; remove it"
                ),
            );
        }
    } else if lifetimes_only {
        errors.at(
            generics,
            format!(
                "task `{name}` cannot have lifetimes: its arguments come out of a message, so \
                 there is nothing to borrow from; remove them and take owned types"
            ),
        );
    } else {
        errors.at(
            generics,
            format!(
                "task `{name}` cannot be generic: a worker must know its argument types to decode \
                 a message; write one task for each type"
            ),
        );
    }
    if is_primitive(name) {
        errors.at(
            &sig.ident,
            format!(
                "a task's function cannot be named `{name}`: the type that names the task would \
                 hide the primitive type; rename the function and keep the name with \
                 `#[task(name = \"{name}\")]`"
            ),
        );
    }
}

pub(super) fn receiver(receiver: &Receiver, errors: &mut Errors) {
    errors.at(
        receiver,
        "a task cannot take `self`: a worker has only the message to call it with; make it a free \
         function, and take what it needs as arguments or as `State<T>`",
    );
}

/// What is wrong with the type of an argument.
pub(super) fn payload(pat: &Pat, ty: &Type, errors: &mut Errors) {
    let name = text::of(pat);
    types(ty, errors, |unfit| match unfit {
        Unfit::Reference(reference) => format!(
            "argument `{name}` cannot be a reference: it comes out of a message, so there is \
             nothing to borrow from; take `{}`",
            owned(reference)
        ),
        Unfit::Lifetime => format!(
            "argument `{name}` cannot borrow: it comes out of a message, so there is nothing to \
             borrow from; write `'static` or take an owned type"
        ),
        Unfit::ImplTrait => format!(
            "argument `{name}` cannot be `impl Trait`: a worker must know the type to decode a \
             message; name a type (for `String` arguments `call` accepts `impl Into<String>` by \
             itself)"
        ),
        Unfit::Infer => format!("the type of argument `{name}` must be written out"),
        Unfit::Never => format!("argument `{name}` can have no value; take another type"),
    });
}

pub(super) fn injected(ty: &Type, errors: &mut Errors) {
    types(ty, errors, |unfit| match unfit {
        Unfit::Reference(reference) => format!(
            "a parameter that the worker supplies cannot borrow: the task owns it while it runs; \
             take `{}`",
            owned(reference)
        ),
        Unfit::Lifetime => "a parameter that the worker supplies cannot borrow: the task owns it \
                            while it runs; write `'static` or take an owned type"
            .to_owned(),
        Unfit::ImplTrait => "a parameter that the worker supplies cannot be `impl Trait`: the \
                             worker finds it by its type; name the type"
            .to_owned(),
        Unfit::Infer => "the type of a parameter that the worker supplies must be written out: \
                         the worker finds it by its type"
            .to_owned(),
        Unfit::Never => "the worker has no value of type `!`; take another type".to_owned(),
    });
}

pub(super) fn output(ty: &Type, errors: &mut Errors) {
    types(ty, errors, |unfit| match unfit {
        Unfit::Reference(reference) => format!(
            "a task cannot return a reference: the result leaves the worker as a message; return \
             `{}`",
            owned(reference)
        ),
        Unfit::Lifetime => "a task cannot return a borrow: the result leaves the worker as a \
                            message; write `'static` or return an owned type"
            .to_owned(),
        Unfit::ImplTrait => "a task cannot return `impl Trait`: the caller must know the type to \
                             decode the result; name it, and for a future write `async fn`"
            .to_owned(),
        Unfit::Infer => "the return type of a task must be written out".to_owned(),
        Unfit::Never => "a task must end: a worker waits for its result; return `()`".to_owned(),
    });
}

/// The owned type in place of a borrowed one.
fn owned(reference: &TypeReference) -> String {
    match &*reference.elem {
        Type::Path(ty) if ty.path.is_ident("str") => "String".to_owned(),
        Type::Path(ty) if ty.path.segments.last().is_some_and(|s| s.ident == "Path") => {
            "PathBuf".to_owned()
        }
        Type::Slice(ty) => format!("Vec<{}>", text::of(&ty.elem)),
        ty => text::of(ty),
    }
}

pub(crate) fn is_primitive(name: &str) -> bool {
    const PRIMITIVES: [&str; 17] = [
        "bool", "char", "str", "i8", "i16", "i32", "i64", "i128", "isize", "u8", "u16", "u32",
        "u64", "u128", "usize", "f32", "f64",
    ];
    PRIMITIVES.contains(&name)
}

/// A part of a type that no task can have.
enum Unfit<'ast> {
    Reference(&'ast TypeReference),
    Lifetime,
    ImplTrait,
    Infer,
    Never,
}

/// Reports the outermost unfit parts of a type, each where it stands.
fn types(ty: &Type, errors: &mut Errors, sentence: impl Fn(&Unfit<'_>) -> String) {
    struct Search<'a, F> {
        errors: &'a mut Errors,
        sentence: F,
    }
    impl<F: Fn(&Unfit<'_>) -> String> Search<'_, F> {
        fn refuse(&mut self, at: impl ToTokens, unfit: &Unfit<'_>) {
            self.errors.at(at, (self.sentence)(unfit));
        }
    }
    impl<'ast, F: Fn(&Unfit<'_>) -> String> Visit<'ast> for Search<'_, F> {
        fn visit_type_reference(&mut self, ty: &'ast TypeReference) {
            self.refuse(ty, &Unfit::Reference(ty));
        }
        fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
            // A named lifetime is refused where it is declared.
            if lifetime.ident == "_" {
                self.refuse(lifetime, &Unfit::Lifetime);
            }
        }
        fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
            self.refuse(ty, &Unfit::ImplTrait);
        }
        fn visit_type_infer(&mut self, ty: &'ast TypeInfer) {
            self.refuse(ty, &Unfit::Infer);
        }
        fn visit_type_never(&mut self, ty: &'ast TypeNever) {
            self.refuse(ty, &Unfit::Never);
        }
        fn visit_type_fn_ptr(&mut self, _: &'ast TypeFnPtr) {
            // `fn(&str) -> !` borrows nothing and is left to the type check.
        }
    }
    let mut search = Search { errors, sentence };
    visit::visit_type(&mut search, ty);
}

/// Says of an item that is no function what it is, and where `#[task]` goes instead.
pub(crate) fn other_item(item: TokenStream, error: syn::Error, errors: &mut Errors) {
    let first_word = item.into_iter().find_map(|token| match token {
        TokenTree::Ident(word) => (word != "pub").then_some(word),
        TokenTree::Punct(punct) if punct.as_char() == '|' => {
            Some(Ident::new("closure", punct.span()))
        }
        _ => None,
    });
    let Some(word) = first_word else {
        return errors.push(error);
    };
    let what = match word.to_string().as_str() {
        "struct" => "a struct",
        "enum" => "an enum",
        "union" => "a union",
        "trait" => "a trait",
        "impl" => "an `impl` block",
        "mod" => "a module",
        "static" => "a static",
        "const" => "a constant",
        "type" => "a type alias",
        "use" => "an import",
        "extern" => "an `extern` item",
        "macro_rules" => "a macro",
        "move" | "closure" => "a closure",
        "let" => "a `let`",
        // A function, then, and syn knows what is wrong with it.
        _ => return errors.push(error),
    };
    errors.at_span(
        word.span(),
        format!(
            "`#[task]` goes on a function, and this is {what}; write the work as a free function, \
             `async fn` for input and output, plain `fn` for computation, and annotate that"
        ),
    );
}
