//! What can be done, under which name, and what role it needs.
//!
//! One table: the gateway lets in by it, `/openapi.json` tells it, and the table
//! in docs/security.md is made from it.

use std::fmt::Write as _;

use axum::http::Method;

use super::Role;

/// Something that can be done.
#[derive(Clone, Copy, Debug)]
pub struct Action {
    /// Its name.
    pub name: &'static str,
    /// The least role that may.
    pub role: Role,
    /// What it is, in words.
    pub what: &'static str,
    /// By which requests: method and path, as in `/openapi.json`.
    pub requests: &'static [(&'static str, &'static str)],
}

/// What nothing else in the table says: reading.
const LOOK: &str = "look";

/// All that can be done.
pub const ACTIONS: &[Action] = &[
    Action {
        name: LOOK,
        role: Role::Viewer,
        what: "look at everything: every `GET`",
        requests: &[],
    },
    Action {
        name: "session.end",
        role: Role::Viewer,
        what: "log out",
        requests: &[("DELETE", "/v1/session"), ("POST", "/logout")],
    },
    Action {
        name: "page.act",
        role: Role::Operator,
        what: "what the dashboard's buttons do; each needs the role of what it does",
        requests: &[("POST", "/do")],
    },
    Action {
        name: "task.reveal",
        role: Role::Operator,
        what: "see what is sensitive of a task",
        requests: &[
            ("POST", "/v1/tasks/{id}:reveal"),
            ("POST", "/tasks/{id}/reveal"),
        ],
    },
    Action {
        name: "task.send",
        role: Role::Operator,
        what: "send tasks",
        requests: &[("POST", "/v1/tasks"), ("POST", "/v1/tasks:batch")],
    },
    Action {
        name: "task.cancel",
        role: Role::Operator,
        what: "cancel a task",
        requests: &[("POST", "/v1/tasks/{id}:cancel")],
    },
    Action {
        name: "task.retry",
        role: Role::Operator,
        what: "run a task again that has ended without a result",
        requests: &[("POST", "/v1/tasks/{id}:retry")],
    },
    Action {
        name: "task.bulk",
        role: Role::Operator,
        what: "do any of these to many tasks at once; to discard dead letters needs `dead-letter.discard` too",
        requests: &[
            ("POST", "/v1/tasks:bulk"),
            ("POST", "/v1/operations/{id}:cancel"),
        ],
    },
    Action {
        name: "task.move",
        role: Role::Operator,
        what: "start what is put off now, or at another time",
        requests: &[
            ("POST", "/v1/tasks/{id}:run-now"),
            ("POST", "/v1/tasks/{id}:reschedule"),
        ],
    },
    Action {
        name: "queue.pause",
        role: Role::Operator,
        what: "pause a queue, and let it go on",
        requests: &[
            ("POST", "/v1/queues/{queue}:pause"),
            ("POST", "/v1/queues/{queue}:resume"),
        ],
    },
    Action {
        name: "queue.set",
        role: Role::Operator,
        what: "change what is set for a queue",
        requests: &[("PUT", "/v1/queues/{queue}/settings")],
    },
    Action {
        name: "queue.purge",
        role: Role::Admin,
        what: "cancel all that waits in a queue",
        requests: &[("POST", "/v1/queues/{queue}:purge")],
    },
    Action {
        name: "task-type.pause",
        role: Role::Operator,
        what: "pause a task type, and let it go on",
        requests: &[
            ("POST", "/v1/task-types/{task}:pause"),
            ("POST", "/v1/task-types/{task}:resume"),
        ],
    },
    Action {
        name: "schedule.pause",
        role: Role::Operator,
        what: "pause a schedule, and let it go on",
        requests: &[
            ("POST", "/v1/schedules/{name}:pause"),
            ("POST", "/v1/schedules/{name}:resume"),
        ],
    },
    Action {
        name: "schedule.set",
        role: Role::Operator,
        what: "make a schedule, or change it",
        requests: &[("PUT", "/v1/schedules/{name}")],
    },
    Action {
        name: "schedule.run",
        role: Role::Operator,
        what: "run a schedule's call now",
        requests: &[("POST", "/v1/schedules/{name}:run")],
    },
    Action {
        name: "schedule.remove",
        role: Role::Admin,
        what: "remove a schedule",
        requests: &[("DELETE", "/v1/schedules/{name}")],
    },
    Action {
        name: "worker.quiet",
        role: Role::Operator,
        what: "let a worker take nothing new, take tasks again, or end when its tasks have",
        requests: &[
            ("POST", "/v1/workers/{worker}:quiet"),
            ("POST", "/v1/workers/{worker}:resume"),
            ("POST", "/v1/workers/{worker}:drain"),
        ],
    },
    Action {
        name: "worker.stop",
        role: Role::Admin,
        what: "stop a worker at once, or have one more or fewer",
        requests: &[
            ("POST", "/v1/workers/{worker}:stop"),
            ("POST", "/v1/workers"),
            ("DELETE", "/v1/workers/{worker}"),
        ],
    },
    Action {
        name: "pool.scale",
        role: Role::Operator,
        what: "have a pool keep another number of workers, within its limits",
        requests: &[("POST", "/v1/pools/{pool}:scale")],
    },
    Action {
        name: "dead-letter.replay",
        role: Role::Operator,
        what: "send a dead letter again",
        requests: &[("POST", "/v1/dead-letters/{id}:replay")],
    },
    Action {
        name: "dead-letter.discard",
        role: Role::Admin,
        what: "remove a dead letter for good",
        requests: &[("POST", "/v1/dead-letters/{id}:discard")],
    },
    Action {
        name: "index.rebuild",
        role: Role::Admin,
        what: "throw the index away, and build it again",
        requests: &[("POST", "/v1/index:rebuild")],
    },
];

/// The action of a request, by the path as in `/openapi.json`. Of what changes
/// something and is not in the table there is none: only an admin may.
pub(crate) fn of(method: &Method, path: &str) -> Option<&'static Action> {
    let is = |(of, at): &(&str, &str)| *of == method.as_str() && *at == path;
    let found = ACTIONS.iter().find(|action| action.requests.iter().any(is));
    found.or_else(|| looks(method).then(|| &ACTIONS[0]))
}

/// Whether a request changes nothing by its method.
pub(crate) fn looks(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

/// The names of all that a role may do.
pub(crate) fn allowed(role: Role) -> Vec<&'static str> {
    let allowed = ACTIONS.iter().filter(|action| role >= action.role);
    allowed.map(|action| action.name).collect()
}

/// The table of roles and actions, in Markdown.
#[must_use]
pub fn table() -> String {
    let mut text = String::from("| action | needs | what |\n|---|---|---|\n");
    for action in ACTIONS {
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "| `{}` | `{}` | {} |",
            action.name, action.role, action.what
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_found_by_its_request_and_what_is_not_listed_is_for_nobody_else() {
        let role = |method: Method, path| of(&method, path).map(|action| action.role);
        assert_eq!(role(Method::GET, "/v1/anything"), Some(Role::Viewer));
        assert_eq!(role(Method::POST, "/v1/tasks"), Some(Role::Operator));
        assert_eq!(
            role(Method::POST, "/v1/queues/{queue}:purge"),
            Some(Role::Admin)
        );
        assert_eq!(role(Method::POST, "/v1/queues/{queue}:explode"), None);
        assert_eq!(role(Method::PUT, "/v1/tasks"), None);
    }

    #[test]
    fn no_two_actions_have_a_name_or_a_request() {
        for (place, action) in ACTIONS.iter().enumerate() {
            for other in &ACTIONS[..place] {
                assert_ne!(action.name, other.name);
                for request in action.requests {
                    assert!(!other.requests.contains(request), "{request:?}");
                }
            }
        }
    }
}
