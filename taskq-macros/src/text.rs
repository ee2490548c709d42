//! Source text as a person would have spaced it, and documentation as text.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// The text of a type or a path: `Result<Receipt, SendError>`, where `to_string` would
/// give `Result < Receipt , SendError >`.
pub(crate) fn of(tokens: impl ToTokens) -> String {
    let mut text = String::new();
    write(tokens.to_token_stream(), &mut text);
    text
}

fn write(tokens: TokenStream, text: &mut String) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{ ", " }"),
                    Delimiter::None => ("", ""),
                };
                if group.delimiter() == Delimiter::Bracket {
                    space_after_word(text);
                }
                text.push_str(open);
                write(group.stream(), text);
                text.push_str(close);
            }
            TokenTree::Punct(punct) => match punct.as_char() {
                ',' | ';' => {
                    text.push(punct.as_char());
                    text.push(' ');
                }
                ':' if punct.spacing() == Spacing::Alone && !text.ends_with(':') => {
                    text.push_str(": ");
                }
                // `->` comes as a joint `-` and a `>`.
                '-' if punct.spacing() == Spacing::Joint => text.push_str(" -"),
                '>' if text.ends_with(" -") => text.push_str("> "),
                c @ ('+' | '=') => {
                    text.push(' ');
                    text.push(c);
                    text.push(' ');
                }
                '\'' => {
                    space_after_word(text);
                    text.push('\'');
                }
                c => text.push(c),
            },
            TokenTree::Ident(_) | TokenTree::Literal(_) => {
                space_after_word(text);
                text.push_str(&token.to_string());
            }
        }
    }
    // A trailing comma, as in `(u8,)`, needs no space after it.
    if text.ends_with(", ") {
        text.truncate(text.len() - 1);
    }
}

/// Two words need a space between them; so does `as` in `<Vec<u8> as IntoIterator>`,
/// and the bracket in `mut [u8]`.
fn space_after_word(text: &mut String) {
    if text.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '>') {
        text.push(' ');
    }
}

/// The first paragraph of the documentation, on one line.
pub(crate) fn first_paragraph(attrs: &[Attribute]) -> String {
    let mut all = paragraphs(attrs);
    all.truncate(all.find("\n\n").unwrap_or(all.len()));
    all
}

/// The documentation: each paragraph on one line, an empty one between two.
pub(crate) fn paragraphs(attrs: &[Attribute]) -> String {
    let docs = attrs
        .iter()
        .filter_map(doc_text)
        .collect::<Vec<_>>()
        .join("\n");
    let mut text = String::new();
    let mut apart = "";
    for line in docs.lines().map(str::trim) {
        if line.is_empty() {
            apart = if text.is_empty() { "" } else { "\n\n" };
            continue;
        }
        text.push_str(apart);
        text.push_str(line);
        apart = " ";
    }
    text
}

/// The text of a `#[doc = ".."]`, which a `///` line is too.
fn doc_text(attr: &Attribute) -> Option<String> {
    match &attr.meta {
        Meta::NameValue(doc) if doc.path.is_ident("doc") => match &doc.value {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    #[test]
    fn types_are_spaced_as_people_space_them() {
        for text in [
            "String",
            "()",
            "(u8,)",
            "(u8, String)",
            "Result<Receipt, SendError>",
            "Vec<Option<(u8, [u8; 4])>>",
            "std::collections::HashMap<String, Vec<u8>>",
            "::std::string::String",
            "Box<dyn Fn(u8) -> u8 + Send + 'static>",
            "Cow<'static, str>",
            "&'static mut [u8]",
            "<Vec<u8> as IntoIterator>::Item",
            "Foo<{ 1 }>",
            "impl Iterator<Item = u8>",
            "*const u8",
            "r#type",
            "fn(u8) -> Vec<u8>",
            "dyn for<'a> Fn(&'a str)",
        ] {
            let ty: syn::Type = syn::parse_str(text).unwrap();
            assert_eq!(of(ty), text);
        }
    }

    #[test]
    fn the_first_paragraph_ends_at_an_empty_line() {
        let function: syn::ItemFn = parse_quote! {
            ///
            /// Sends one
            ///   e-mail.
            ///
            /// Slowly.
            #[doc = include_str!("mail.md")]
            fn send() {}
        };
        assert_eq!(first_paragraph(&function.attrs), "Sends one e-mail.");
        assert_eq!(paragraphs(&function.attrs), "Sends one e-mail.\n\nSlowly.");
        assert_eq!(first_paragraph(&[]), "");
    }
}
