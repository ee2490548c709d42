//! Which names a task and a queue may have.

use crate::SyntaxError;

/// The longest name of a task, in characters.
pub const MAX_TASK_NAME: usize = 128;

/// The longest name of a queue, in characters.
pub const MAX_QUEUE_NAME: usize = 64;

/// Checks the name of a task: 1 to 128 of `A-Z a-z 0-9 _ . : -`, where dots separate
/// non-empty parts.
///
/// ```
/// use taskq_syntax::check_task_name;
///
/// check_task_name("mail.send")?;
/// check_task_name("tasks_demo:to_uppercase")?; // Taskiq's `module:function`
/// assert!(check_task_name("mail send").is_err());
/// # Ok::<(), taskq_syntax::SyntaxError>(())
/// ```
///
/// # Errors
///
/// Any other name, with what is wrong and a name that would do.
pub fn check_task_name(name: &str) -> Result<(), SyntaxError> {
    let kind = Kind {
        what: "task",
        longest: MAX_TASK_NAME,
        marks: "_.:-",
        letters: "letters, digits, `_`, `.`, `:` and `-`",
        example: "mail.send",
    };
    kind.check(name)?;
    if name.split('.').any(str::is_empty) {
        return Err(kind.refuse(
            name,
            "a dot must stand between two parts, as in `mail.send`; remove the dot that does not",
        ));
    }
    Ok(())
}

/// Checks the name of a queue: 1 to 64 of `A-Z a-z 0-9 _ -`.
///
/// ```
/// use taskq_syntax::check_queue_name;
///
/// check_queue_name("email")?;
/// assert!(check_queue_name("e.mail").is_err());
/// # Ok::<(), taskq_syntax::SyntaxError>(())
/// ```
///
/// # Errors
///
/// Any other name, with what is wrong and a name that would do.
pub fn check_queue_name(name: &str) -> Result<(), SyntaxError> {
    Kind {
        what: "queue",
        longest: MAX_QUEUE_NAME,
        marks: "_-",
        letters: "letters, digits, `_` and `-`",
        example: "email",
    }
    .check(name)
}

/// What is named, and of what its name may be made.
struct Kind {
    what: &'static str,
    longest: usize,
    marks: &'static str,
    letters: &'static str,
    example: &'static str,
}

impl Kind {
    fn check(&self, name: &str) -> Result<(), SyntaxError> {
        let Self {
            longest,
            example,
            letters,
            ..
        } = *self;
        if name.is_empty() {
            return Err(self.refuse(name, &format!("it is empty; write for example `{example}`")));
        }
        let bad = |c: &char| !c.is_ascii_alphanumeric() && !self.marks.contains(*c);
        if let Some(c) = name.chars().find(bad) {
            let mend: String = name
                .chars()
                .map(|c| if bad(&c) { '_' } else { c })
                .collect();
            let c = c.escape_debug();
            return Err(self.refuse(
                name,
                &format!("it contains `{c}`; use only ASCII {letters}, for example `{mend}`"),
            ));
        }
        let length = name.len();
        if length > longest {
            return Err(self.refuse(
                name,
                &format!("it has {length} characters; shorten it to {longest} or fewer"),
            ));
        }
        Ok(())
    }

    fn refuse(&self, name: &str, why: &str) -> SyntaxError {
        let what = self.what;
        let name = name.escape_debug();
        SyntaxError::new(format!("`{name}` cannot name a {what}: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_other_systems_are_good_task_names() {
        for name in [
            "to_uppercase",
            "tasks_demo:to_uppercase",
            "package.tasks:send",
            "mail.send.v2",
            "a",
            "7",
            "mail-send",
            ":",
        ] {
            assert_eq!(check_task_name(name), Ok(()), "{name}");
        }
        assert_eq!(check_task_name(&"x".repeat(MAX_TASK_NAME)), Ok(()));
        assert_eq!(check_queue_name(&"x".repeat(MAX_QUEUE_NAME)), Ok(()));
    }

    #[test]
    fn bad_names_are_refused_with_the_mend() {
        for (name, mend) in [
            ("", "it is empty; write for example `mail.send`"),
            ("mail send", "contains ` `; use only ASCII letters"),
            ("mail send", "for example `mail_send`"),
            ("mail>", "for example `mail_`"),
            ("grüße", "for example `gr__e`"),
            ("a\nb", "`a\\nb` cannot name a task: it contains `\\n`"),
            (".mail", "remove the dot"),
            ("mail.", "remove the dot"),
            ("mail..send", "remove the dot"),
            (
                &"x".repeat(129),
                "it has 129 characters; shorten it to 128 or fewer",
            ),
        ] {
            let sentence = check_task_name(name).unwrap_err().to_string();
            assert!(sentence.contains(mend), "{sentence}");
        }
        for (name, mend) in [
            ("", "it is empty; write for example `email`"),
            ("e.mail", "for example `e_mail`"),
            ("e:mail", "letters, digits, `_` and `-`"),
            ("*", "for example `_`"),
            (&"q".repeat(65), "shorten it to 64 or fewer"),
        ] {
            let sentence = check_queue_name(name).unwrap_err().to_string();
            assert!(sentence.contains(mend), "{sentence}");
            assert!(sentence.contains("cannot name a queue"));
        }
    }

    proptest! {
        #[test]
        fn every_queue_name_is_a_task_name(name in "[A-Za-z0-9_-]{1,64}") {
            prop_assert_eq!(check_queue_name(&name), Ok(()));
            prop_assert_eq!(check_task_name(&name), Ok(()));
        }

        #[test]
        fn a_good_name_is_made_of_the_allowed(name in "\\PC{0,20}") {
            let allowed = |marks: &str| {
                !name.is_empty()
                    && name.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
            };
            prop_assert_eq!(check_queue_name(&name).is_ok(), allowed("_-"));
            let dots = !name.starts_with('.') && !name.ends_with('.') && !name.contains("..");
            prop_assert_eq!(check_task_name(&name).is_ok(), allowed("_.:-") && dots);
        }
    }
}
