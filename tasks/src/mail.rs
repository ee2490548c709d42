//! E-mail, through an SMTP server or into a folder.
//!
//! `TASKQ_SMTP_URL` names the server: `smtp://user:password@host:587?tls=required`,
//! or `smtps://host` for TLS from the first byte. Without it `TASKQ_MAIL_DIR` names a
//! folder for `.eml` files, to look at what would be sent. `TASKQ_MAIL_FROM` is the
//! sender of mails that name none.
//!
//! A mail's `Message-ID` is the task's id, the same in each attempt. What the server
//! has accepted is noted before the task ends, so an attempt that takes over sends it
//! only when that is not known: when the worker was killed in the moments between the
//! server's answer and the note. Most mailboxes suppress a second mail of one
//! `Message-ID`.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use taskq::{Context, TaskError, task};

use crate::bounds::{MAX_TEXT_BYTES, at_most};

/// The variable that names the SMTP server.
pub const SMTP_VARIABLE: &str = "TASKQ_SMTP_URL";
/// The variable that names a folder for mails, where no server is named.
pub const FOLDER_VARIABLE: &str = "TASKQ_MAIL_DIR";
/// The variable that names the usual sender.
pub const FROM_VARIABLE: &str = "TASKQ_MAIL_FROM";

/// The most that a mail may go to.
const MOST_RECIPIENTS: usize = 100;
/// How long the server may take for each command.
const PATIENCE: Duration = Duration::from_secs(20);

/// A mail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Email {
    /// Whom it is to, at least one: `ada@example.com` or `Ada <ada@example.com>`.
    pub to: Vec<String>,
    /// Who else sees it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cc: Vec<String>,
    /// Who sees it without being named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bcc: Vec<String>,
    /// Whom it is from; the worker's usual sender if it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Where an answer goes, if not to the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// Its subject, one line.
    pub subject: String,
    /// Its text.
    pub text: String,
    /// The same as HTML, for who reads that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
}

/// What became of a mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sent {
    /// Its `Message-ID`.
    pub message_id: String,
    /// How many it goes to.
    pub recipients: u32,
    /// What the server answered, or the name of the file.
    pub answer: String,
}

/// Sends a mail.
///
/// A server that is busy or away is asked again, six times, over some ten
/// minutes; one that refuses the mail has refused it for good.
///
/// # Errors
/// A permanent one for an address that is none, a line break in a header, a mail
/// that is too large or goes to too many, or when the worker knows no server.
#[task(retries = 6, backoff = "exponential(5s, max 5m)", timeout = "2m")]
pub async fn send_email(ctx: Context, message: Email) -> Result<Sent, TaskError> {
    let way = WAY.get_or_init(|| way(&|name| std::env::var(name).ok()));
    let way = way
        .as_ref()
        .map_err(|why| TaskError::permanent(why.clone()))?;
    let usual = std::env::var(FROM_VARIABLE).ok();
    send(&ctx, way, usual.as_deref(), &message).await
}

/// How mails go out of this process.
static WAY: OnceLock<Result<Way, String>> = OnceLock::new();

enum Way {
    Server(AsyncSmtpTransport<Tokio1Executor>),
    Folder(PathBuf),
}

fn way(variable: &dyn Fn(&str) -> Option<String>) -> Result<Way, String> {
    if let Some(url) = variable(SMTP_VARIABLE) {
        // An error may quote the address, and so its password.
        let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(&url)
            .map_err(|_| format!("{SMTP_VARIABLE} is no address of an SMTP server"))?;
        return Ok(Way::Server(server.timeout(Some(PATIENCE)).build()));
    }
    let folder = variable(FOLDER_VARIABLE).ok_or_else(|| {
        format!(
            "this worker sends no mail; set {SMTP_VARIABLE} (smtp://user:password@host:587?\
             tls=required), or {FOLDER_VARIABLE} for a folder of .eml files"
        )
    })?;
    Ok(Way::Folder(folder.into()))
}

async fn send(
    ctx: &Context,
    way: &Way,
    usual: Option<&str>,
    message: &Email,
) -> Result<Sent, TaskError> {
    if let Some(sent) = ctx.last_checkpoint::<Sent>().await? {
        ctx.log("an earlier attempt had sent it");
        return Ok(sent);
    }
    let mail = Mail::new(ctx, usual, message)?;
    let answer = match way {
        Way::Server(server) => {
            let answer = server.send(mail.message).await.map_err(refused)?;
            let lines: Vec<&str> = answer.message().collect();
            format!("{} {}", answer.code(), lines.join(" "))
        }
        Way::Folder(folder) => write(folder, ctx, &mail.message.formatted()).await?,
    };
    let sent = Sent {
        message_id: mail.id,
        recipients: mail.recipients,
        answer,
    };
    ctx.checkpoint(&sent).await?;
    Ok(sent)
}

/// The whole file is there, or none: it is written beside and moved. The name is
/// the task's, so that of two attempts one file is there.
async fn write(folder: &Path, ctx: &Context, mail: &[u8]) -> Result<String, TaskError> {
    let id = ctx.id().to_string();
    let safe = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    let name: String = id
        .chars()
        .map(|letter| if safe(letter) { letter } else { '_' })
        .collect();
    let name = format!("{name}.eml");
    tokio::fs::create_dir_all(folder).await?;
    let beside = folder.join(format!(".{name}.{}", ctx.attempt()));
    tokio::fs::write(&beside, mail).await?;
    tokio::fs::rename(&beside, folder.join(&name)).await?;
    Ok(name)
}

#[expect(clippy::needless_pass_by_value, reason = "a closure's place")]
fn refused(error: lettre::transport::smtp::Error) -> TaskError {
    let text = format!("the SMTP server: {error}");
    if error.is_permanent() {
        TaskError::permanent(text)
    } else {
        text.into()
    }
}

struct Mail {
    message: Message,
    id: String,
    recipients: u32,
}

impl Mail {
    fn new(ctx: &Context, usual: Option<&str>, email: &Email) -> Result<Self, TaskError> {
        let size = email.text.len() + email.html.as_ref().map_or(0, String::len);
        at_most("the mail", size, MAX_TEXT_BYTES, "bytes")?;
        let all = [&email.to, &email.cc, &email.bcc];
        let recipients = all.map(Vec::len).iter().sum();
        at_most("the mail", recipients, MOST_RECIPIENTS, "recipients")?;
        if recipients == 0 {
            return Err(TaskError::permanent(
                "the mail is to nobody; name somebody in `to`",
            ));
        }
        if email.subject.chars().any(char::is_control) {
            return Err(TaskError::permanent(
                "the subject has a line break or another control character; it is one line",
            ));
        }
        let from = email.from.as_deref().or(usual).ok_or_else(|| {
            TaskError::permanent(format!(
                "the mail names no sender, and the worker knows none; set `from` or {FROM_VARIABLE}"
            ))
        })?;
        let from = mailbox(from)?;
        let id = format!("<{}@{}>", ctx.id(), from.email.domain());
        // Of its first sending, so that a second is the same mail.
        let date = u64::try_from(ctx.enqueued_at().as_millis()).unwrap_or(0);
        let date: SystemTime = UNIX_EPOCH + Duration::from_millis(date);
        let mut message = Message::builder()
            .from(from)
            .message_id(Some(id.clone()))
            .date(date);
        for to in &email.to {
            message = message.to(mailbox(to)?);
        }
        for cc in &email.cc {
            message = message.cc(mailbox(cc)?);
        }
        for bcc in &email.bcc {
            message = message.bcc(mailbox(bcc)?);
        }
        if let Some(reply_to) = &email.reply_to {
            message = message.reply_to(mailbox(reply_to)?);
        }
        let message = message.subject(email.subject.as_str());
        let text = email.text.clone();
        let message = match &email.html {
            None => message.singlepart(SinglePart::plain(text)),
            Some(html) => {
                let html = SinglePart::builder()
                    .header(ContentType::TEXT_HTML)
                    .body(html.clone());
                let both = MultiPart::alternative().singlepart(SinglePart::plain(text));
                message.multipart(both.singlepart(html))
            }
        };
        let message =
            message.map_err(|error| TaskError::permanent(format!("this is no mail: {error}")))?;
        Ok(Self {
            message,
            id,
            recipients: u32::try_from(recipients).unwrap_or(u32::MAX),
        })
    }
}

fn mailbox(text: &str) -> Result<Mailbox, TaskError> {
    if text.chars().any(char::is_control) {
        return Err(TaskError::permanent(format!(
            "the address {text:?} has a line break or another control character"
        )));
    }
    let parsed = text.trim().parse();
    parsed.map_err(|error| TaskError::permanent(format!("{text:?} is no address: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn email() -> Email {
        Email {
            to: vec!["Ada <ada@example.com>".into()],
            bcc: vec!["audit@example.com".into()],
            subject: "Grüße".into(),
            text: "Hello\n.\nthere".into(),
            html: Some("<b>Hello</b>".into()),
            ..Email::default()
        }
    }

    const FROM: Option<&str> = Some("Shop <shop@example.org>");

    #[tokio::test]
    async fn a_mail_is_written_once_whatever_the_attempts() {
        let folder = tempfile::tempdir().unwrap();
        let way = Way::Folder(folder.path().join("mails"));
        let ctx = Context::test();
        let sent = send(&ctx, &way, FROM, &email()).await.unwrap();
        let id = "<00000000-0000-7000-8000-000000000000@example.org>";
        assert_eq!((sent.message_id.as_str(), sent.recipients), (id, 2));
        let file = folder.path().join("mails").join(&sent.answer);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(&format!("Message-ID: {id}")), "{text}");
        assert!(text.contains("To: Ada <ada@example.com>"), "{text}");
        assert!(!text.contains("audit@example.com"), "{text}");
        // An attempt that knows that it is sent sends nothing.
        std::fs::remove_file(&file).unwrap();
        assert_eq!(send(&ctx, &way, FROM, &email()).await.unwrap(), sent);
        assert!(!file.exists());
        // One that does not know sends the very same mail.
        send(&Context::test(), &way, FROM, &email()).await.unwrap();
        assert_eq!(
            std::fs::read_dir(folder.path().join("mails"))
                .unwrap()
                .count(),
            1
        );
    }

    #[test]
    fn a_header_cannot_be_added() {
        let with = |change: &dyn Fn(&mut Email)| {
            let mut email = email();
            change(&mut email);
            Mail::new(&Context::test(), FROM, &email)
        };
        let evil = "x\r\nBcc: victim@example.com";
        for refused in [
            with(&|email| email.subject = evil.into()),
            with(&|email| email.to.push(format!("a@example.com{evil}"))),
            with(&|email| email.cc.push(format!("{evil} <a@example.com>"))),
            with(&|email| email.from = Some(format!("a@example.com{evil}"))),
            with(&|email| email.reply_to = Some("a@example.com\n".to_owned() + evil)),
            with(&|email| email.to = vec!["nobody".into()]),
            with(&|email| (email.to, email.bcc) = (Vec::new(), Vec::new())),
            with(&|email| email.bcc = vec!["a@example.com".into(); 101]),
        ] {
            assert!(refused.err().unwrap().is_permanent());
        }
        assert!(Mail::new(&Context::test(), None, &email()).is_err());
    }

    #[test]
    fn a_password_is_not_told() {
        let url = |name: &str| (name == SMTP_VARIABLE).then(|| "smtp:/u:secret@x y".to_owned());
        let Err(why) = way(&url) else {
            panic!("it is none")
        };
        assert!(!why.contains("secret"), "{why}");
        assert!(way(&|_| None).err().unwrap().contains(FOLDER_VARIABLE));
    }
}
