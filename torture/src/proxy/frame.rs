//! The NATS protocol, cut into what is said at a time.

use std::sync::Arc;

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    ToServer,
    /// From the server.
    ToClient,
}

/// One line of the protocol, with the message that follows it, if one does.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The name that the client gave its connection; empty before it did.
    pub connection: Arc<str>,
    /// Which way it goes.
    pub direction: Direction,
    pub(super) bytes: Vec<u8>,
    /// Where the message begins; at the end, where there is none.
    body: usize,
}

impl Frame {
    /// Takes a whole frame from the front of what has come. None while it is
    /// not all there.
    pub(super) fn take(
        buffer: &mut Vec<u8>,
        connection: &Arc<str>,
        direction: Direction,
    ) -> Option<Self> {
        let line = buffer.windows(2).position(|pair| pair == b"\r\n")?;
        let body = line + 2;
        let head = std::str::from_utf8(&buffer[..line]).unwrap_or_default();
        let mut words = head.split_ascii_whitespace();
        let has_message = words
            .next()
            .is_some_and(|verb| ["PUB", "HPUB", "MSG", "HMSG"].contains(&verb));
        let end = if has_message {
            let size: usize = words.next_back()?.parse().ok()?;
            body + size + 2
        } else {
            body
        };
        if buffer.len() < end {
            return None;
        }
        let rest = buffer.split_off(end);
        Some(Self {
            connection: Arc::clone(connection),
            direction,
            bytes: std::mem::replace(buffer, rest),
            body,
        })
    }

    /// The line.
    #[must_use]
    pub fn line(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.body]).map_or("", str::trim_end)
    }

    /// `PUB`, `HPUB`, `MSG`, `HMSG`, `PING`, …
    #[must_use]
    pub fn verb(&self) -> &str {
        self.line().split_ascii_whitespace().next().unwrap_or("")
    }

    /// The subject that is published or subscribed to, or that a message came
    /// on; empty for a frame without one.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.line().split_ascii_whitespace().nth(1).unwrap_or("")
    }

    /// The message, with its headers; empty where there is none.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        self.bytes[self.body..].strip_suffix(b"\r\n").unwrap_or(b"")
    }

    /// Whether the client publishes to a subject that starts like this.
    #[must_use]
    pub fn publishes(&self, prefix: &str) -> bool {
        self.direction == Direction::ToServer
            && matches!(self.verb(), "PUB" | "HPUB")
            && self.subject().starts_with(prefix)
    }

    /// Whether the server tells that a message is stored in this stream.
    #[must_use]
    pub fn confirms(&self, stream: &str) -> bool {
        let ack = format!(r#"{{"stream":"{stream}","#);
        self.direction == Direction::ToClient && self.message().starts_with(ack.as_bytes())
    }

    /// The name in a client's first words.
    pub(super) fn client_name(&self) -> Option<Arc<str>> {
        let options = self.line().strip_prefix("CONNECT ")?;
        let options: serde_json::Value = serde_json::from_str(options).ok()?;
        Some(options["name"].as_str()?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_where_they_end_however_they_come() {
        let said = b"CONNECT {\"name\":\"w\"}\r\nPING\r\nPUB a.b _INBOX.1 5\r\nx\r\ny!\r\n\
                     HPUB c 3 4\r\nhhhm\r\n";
        let (mut buffer, mut frames) = (Vec::new(), Vec::new());
        for byte in said {
            buffer.push(*byte);
            frames.extend(Frame::take(&mut buffer, &"".into(), Direction::ToServer));
        }
        assert!(buffer.is_empty());
        let verbs: Vec<_> = frames.iter().map(Frame::verb).collect();
        assert_eq!(verbs, ["CONNECT", "PING", "PUB", "HPUB"]);
        assert_eq!(frames[0].client_name().as_deref(), Some("w"));
        assert_eq!(
            (frames[2].subject(), frames[2].message()),
            ("a.b", &b"x\r\ny!"[..])
        );
        assert!(frames[2].publishes("a.") && !frames[1].publishes(""));
        let all: Vec<u8> = frames.into_iter().flat_map(|frame| frame.bytes).collect();
        assert_eq!(all, said);
    }

    #[test]
    fn a_confirmation_names_its_stream() {
        let mut buffer = b"MSG _INBOX.1 7 26\r\n{\"stream\":\"DONE\",\"seq\":12}\r\n".to_vec();
        let frame = Frame::take(&mut buffer, &"".into(), Direction::ToClient).unwrap();
        assert!(frame.confirms("DONE") && !frame.confirms("DON"));
    }
}
