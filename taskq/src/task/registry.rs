//! Which tasks this program has.

use std::any::{TypeId, type_name};
use std::collections::HashMap;
use std::fmt::{self, Write as _};

use super::{Declaration, Invocation, Job, States, TaskError, TaskOptions, TaskSchema};
use crate::error::{Error, ErrorKind, Result};

/// All that a worker knows of a task, put in the program by `#[task]`.
pub struct Registration {
    /// The name that crosses the wire.
    pub name: &'static str,
    /// The arguments, in order.
    pub params: &'static [Param],
    /// The return type, as it was written.
    pub output: &'static str,
    /// The defaults.
    pub options: TaskOptions,
    /// What the arguments and the result look like.
    pub schema: TaskSchema,
    /// The states that each injected parameter takes.
    pub needs: &'static [&'static [StateNeed]],
    /// The source file.
    pub file: &'static str,
    /// The line of the function in it.
    pub line: u32,
    /// The module of the function.
    pub module: &'static str,
    /// Whether it is a plain `fn`, for the blocking pool.
    pub blocking: bool,
    /// The first paragraph of its documentation.
    pub doc: &'static str,
    /// When it recurs, if its program says so.
    pub schedule: Option<Declaration>,
    /// Whether an error is worth another attempt; all are where there is none.
    pub retry_if: Option<fn(&TaskError) -> bool>,
    /// Binds the arguments.
    pub run: fn(Invocation) -> Result<Job, TaskError>,
}

/// One argument of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name on the wire.
    pub name: &'static str,
    /// Its type, as it was written.
    pub ty: &'static str,
}

/// A state that a task takes.
#[derive(Clone, Copy)]
pub struct StateNeed {
    id: fn() -> TypeId,
    name: fn() -> &'static str,
}

impl StateNeed {
    /// Needs a `State<T>`.
    #[must_use]
    pub const fn of<T: 'static>() -> Self {
        Self {
            id: TypeId::of::<T>,
            name: type_name::<T>,
        }
    }
}

impl fmt::Debug for StateNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "State<{}>", (self.name)())
    }
}

impl Registration {
    /// The task as a signature: `repeat_string(text: String, times: u32) ->
    /// String`. Two workers that differ here cannot share the task's calls.
    #[must_use]
    pub fn signature(&self) -> String {
        let mut text = format!("{}(", self.name);
        for (place, param) in self.params.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            let _ = write!(text, "{comma}{}: {}", param.name, param.ty);
        }
        let _ = write!(text, ") -> {}", self.output);
        text
    }

    /// Where it is: `src/mail.rs:12`.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.signature(), self.place())
    }
}

/// The tasks of one worker, by name, each with its place among them.
#[derive(Clone, Debug)]
pub(crate) struct Registry(HashMap<&'static str, (usize, &'static Registration)>);

impl Registry {
    /// Checks the tasks and keeps them by name.
    ///
    /// # Errors
    /// [`ErrorKind::Registry`], telling everything that is wrong at once: no
    /// task at all, two of one name, a state that is not there.
    pub(crate) fn new(
        tasks: impl IntoIterator<Item = &'static Registration>,
        states: &States,
    ) -> Result<Self> {
        let mut all: Vec<&'static Registration> = tasks.into_iter().collect();
        // Registration order is the linker's; a report should not change
        // from build to build.
        all.sort_by_key(|task| (task.name, task.module, task.file, task.line));
        all.dedup_by(|one, other| std::ptr::eq(*one, *other));
        let mut problems = Vec::new();
        if all.is_empty() {
            problems.push(
                "no task is registered in this program; annotate a function with `#[task]`, and \
                 name the crate of your tasks once in the program's source: `use my_tasks as _;`"
                    .to_owned(),
            );
        }
        for pair in all.windows(2) {
            if pair[0].name == pair[1].name {
                problems.push(format!(
                    "two tasks are named `{}`: {}::{0} ({}) and {}::{0} ({}); \
                     give one of them another name: `#[task(name = \"..\")]`",
                    pair[0].name,
                    pair[0].module,
                    pair[0].place(),
                    pair[1].module,
                    pair[1].place(),
                ));
            }
        }
        for task in &all {
            for need in task.needs.iter().copied().flatten() {
                if !states.has((need.id)()) {
                    problems.push(format!(
                        "task `{}` ({}) needs State<{}>; give the worker one: `.state(..)`",
                        task.name,
                        task.place(),
                        (need.name)(),
                    ));
                }
            }
            for (checked, what) in [
                (taskq_syntax::check_task_name(task.name), "name"),
                (taskq_syntax::check_queue_name(task.options.queue), "queue"),
            ] {
                if let Err(error) = checked {
                    problems.push(format!(
                        "the {what} of task `{}` ({}): {error}",
                        task.name,
                        task.place()
                    ));
                }
            }
        }
        if problems.is_empty() {
            let placed = all.into_iter().enumerate();
            return Ok(Self(
                placed
                    .map(|(place, task)| (task.name, (place, task)))
                    .collect(),
            ));
        }
        Err(Error::new(
            ErrorKind::Registry,
            format!("the worker cannot be built: {}", problems.join("; ")),
        ))
    }

    /// The task of a name, and its place in [`tasks`](Self::tasks); the place
    /// after the last for a name that is not known.
    pub(crate) fn find(&self, name: &str) -> (usize, Option<&'static Registration>) {
        match self.0.get(name) {
            Some((place, task)) => (*place, Some(task)),
            None => (self.0.len(), None),
        }
    }

    /// The tasks, sorted by name.
    pub(crate) fn tasks(&self) -> Vec<&'static Registration> {
        let mut tasks: Vec<_> = self.0.values().map(|(_, task)| *task).collect();
        tasks.sort_by_key(|task| task.name);
        tasks
    }
}
