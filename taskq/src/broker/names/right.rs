//! Whose right a subject is: the roles of `deploy/nats/permissions.conf`.

/// What a right is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Publish,
    Subscribe,
}

/// What a subject is for.
#[derive(Clone, Copy, Debug)]
pub(in crate::broker) struct Right {
    /// Whose right to do what.
    pub(in crate::broker) of: &'static str,
    /// What to do when it is missing.
    pub(in crate::broker) mend: &'static str,
}

/// What a right to a subject is, in the roles of
/// `deploy/nats/permissions.conf`.
pub(in crate::broker) fn right(act: Act, subject: &str) -> Right {
    const GRANT: &str = "connect as a user of that role, or grant it (docs/security.md)";
    const INIT: &str =
        "let an operator run `taskq init` once, or connect as one (docs/security.md)";
    const API: [(&str, &str, &str); 11] = [
        (
            "STREAM.CREATE.",
            "the operator's right to make streams",
            INIT,
        ),
        (
            "STREAM.UPDATE.",
            "the operator's right to change streams",
            GRANT,
        ),
        (
            "STREAM.MSG.DELETE.",
            "the worker's and the operator's right to delete messages",
            GRANT,
        ),
        (
            "STREAM.PURGE.",
            "the worker's and the operator's right to purge streams",
            GRANT,
        ),
        (
            "STREAM.MSG.GET.",
            "every role's right to look up messages",
            GRANT,
        ),
        ("STREAM.", "every role's right to look at streams", GRANT),
        (
            "CONSUMER.MSG.NEXT.",
            "the worker's right to take messages",
            GRANT,
        ),
        (
            "CONSUMER.CREATE.",
            "the operator's right to make consumers",
            INIT,
        ),
        (
            "CONSUMER.PAUSE.",
            "the operator's right to pause and resume queues",
            GRANT,
        ),
        (
            "CONSUMER.",
            "every role's right to look at consumers",
            GRANT,
        ),
        ("", "every role's right to ask JetStream", GRANT),
    ];
    const OWN: [(&str, &str); 27] = [
        ("work", "the producer's right to enqueue"),
        ("hold", "the producer's right to enqueue tasks with a key"),
        (
            "gate",
            "the producer's right to wake, and the worker's to tell, who releases tasks with a key",
        ),
        (
            "state.gate",
            "the worker's right to release tasks with a key",
        ),
        (
            "plan",
            "the producer's and the worker's right to plan delays and retries",
        ),
        (
            "due",
            "the producer's and the worker's right to send what is due in a moment",
        ),
        ("done", "the worker's right to record outcomes"),
        ("dead", "the worker's right to keep dead letters"),
        (
            "state.lock",
            "the producer's right to take uniqueness locks",
        ),
        (
            "state.cancel",
            "the producer's and the operator's right to cancel",
        ),
        (
            "state.fire",
            "the worker's and the operator's right to plan and start the fires of schedules",
        ),
        (
            "state.operation",
            "the operator's right to do one thing to many tasks",
        ),
        (
            "state.targets",
            "the operator's right to do one thing to many tasks",
        ),
        (
            "state",
            "the worker's right to note what became of attempts",
        ),
        (
            "settings.schedule",
            "the worker's and the operator's right to set schedules",
        ),
        (
            "settings",
            "the operator's right to set queues, task types and schedules",
        ),
        (
            "limit",
            "the worker's right to take places and starts of limited queues",
        ),
        (
            "slots",
            "the worker's right to tell of the places of limited queues",
        ),
        ("stored", "the worker's right to tell of outcomes"),
        (
            "event",
            "the producer's, worker's and operator's right to tell of events",
        ),
        ("audit", "the operator's right to record what operators do"),
        (
            "core.cancel",
            "the producer's and the operator's right to cancel in core mode",
        ),
        (
            "worker",
            "the operator's and the viewer's right to ask a worker how it does",
        ),
        (
            "control",
            "the operator's right to quiet, resume, drain and stop workers",
        ),
        ("core.work", "the producer's right to enqueue in core mode"),
        (
            "core.done",
            "the worker's right to tell outcomes in core mode",
        ),
        ("core", "the worker's right in core mode"),
    ];
    const HEARD: [(&str, &str); 12] = [
        ("gate", "the worker's right to release tasks with a key"),
        ("done", "the producer's right to wait for outcomes"),
        ("stored", "the producer's right to wait for outcomes"),
        (
            "event",
            "the operator's and the viewer's right to follow events",
        ),
        ("state", "the worker's right to hear of cancellations"),
        ("settings", "every role's right to hear what is set"),
        (
            "slots",
            "the worker's right to hear of the places of limited queues",
        ),
        ("worker", "the worker's right to be asked how it does"),
        (
            "control",
            "the worker's right to hear what operators wish of it",
        ),
        (
            "core.work",
            "the worker's right to take messages in core mode",
        ),
        (
            "core.done",
            "the producer's right to wait for outcomes in core mode",
        ),
        ("core", "the worker's right in core mode"),
    ];
    if let Some(request) = subject.strip_prefix("$JS.API.") {
        let found = API.iter().find(|(start, ..)| request.starts_with(start));
        return match found {
            Some(&(_, of, mend)) => Right { of, mend },
            None => Right {
                of: API[10].1,
                mend: GRANT,
            },
        };
    }
    if subject.starts_with("$JS.ACK.") {
        let of = "the worker's right to acknowledge messages";
        return Right { of, mend: GRANT };
    }
    if subject.starts_with("$O.") {
        let of = "the producer's and the worker's right to store large payloads";
        return Right { of, mend: GRANT };
    }
    if subject.starts_with("$SRV.") {
        let of = match act {
            Act::Publish => "the operator's and the viewer's right to find workers",
            Act::Subscribe => "the worker's right to be found",
        };
        return Right { of, mend: GRANT };
    }
    // The first token is the namespace, whatever it is.
    let kind = subject.split_once('.').map_or("", |(_, rest)| rest);
    let known: &[(&str, &str)] = match act {
        Act::Publish => &OWN,
        Act::Subscribe => &HEARD,
    };
    let is_of = |start: &str| {
        let rest = kind.strip_prefix(start);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    match known.iter().find(|(start, _)| is_of(start)) {
        Some(&(_, of)) => Right { of, mend: GRANT },
        None if act == Act::Subscribe => Right {
            of: "where answers come to",
            mend: "set TASKQ_INBOX_PREFIX to the prefix that the user's permissions name \
                   (docs/security.md)",
        },
        None => Right {
            of: "no right of any of taskq's roles",
            mend: "see docs/security.md",
        },
    }
}
