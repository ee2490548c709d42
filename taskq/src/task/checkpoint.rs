//! How far a task is, kept for the attempt that takes over.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::MutexGuard;

use super::context::{Attempt, Context, Hold};
use crate::error::{Error, ErrorKind, Result};

/// The most bytes that a state has as JSON.
const LARGEST: usize = 512 * 1024;
/// How often a checkpoint is taken over that another attempt writes at the
/// same time.
const TRIES: u32 = 10;

/// A checkpoint, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// Whose it is: the attempt that wrote it last.
    by: String,
    /// The number of that attempt.
    attempt: u32,
    /// What it kept; none if it has only taken the checkpoint over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<Box<RawValue>>,
}

impl Context {
    /// Keeps how far the task is, for an attempt that takes over when this one
    /// ends before its time: its worker was killed, it failed and is tried
    /// again, it was handed back. That one asks for
    /// [`last_checkpoint`](Self::last_checkpoint).
    ///
    /// The state is what the task needs to go on: the number of the next line,
    /// not the lines. It takes the place of the state before, and is kept for 3
    /// days after the last. It is stored when this returns: two messages to the
    /// server and back, so call it every few seconds of work, not for each line.
    ///
    /// ```
    /// use taskq::prelude::*;
    ///
    /// #[task(retries = 3)]
    /// async fn import(ctx: Context, lines: Vec<String>) -> Result<usize, TaskError> {
    ///     let done: usize = ctx.last_checkpoint().await?.unwrap_or(0);
    ///     for (place, line) in lines.iter().enumerate().skip(done) {
    ///         println!("{line}"); // ... import it ...
    ///         if place % 1000 == 999 {
    ///             ctx.checkpoint(&(place + 1)).await?;
    ///         }
    ///     }
    ///     Ok(lines.len())
    /// }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let ctx = Context::test();
    /// ctx.checkpoint(&2).await.unwrap(); // as an attempt before did
    /// assert_eq!(import(ctx, vec!["a".into(), "b".into()]).await.unwrap(), 2);
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when another attempt has taken over: this one has
    /// lost its lease, nothing that it does counts any more, and it should stop.
    /// [`ErrorKind::TooLarge`] above 512 KiB of JSON; [`ErrorKind::Invalid`] for
    /// what is no JSON; [`ErrorKind::Unsupported`] in core mode, which keeps
    /// nothing; and when the server does not answer.
    pub async fn checkpoint<T: Serialize + ?Sized>(&self, state: &T) -> Result<()> {
        let attempt = self.inner();
        let state = serde_json::value::to_raw_value(state).map_err(|error| {
            let what = format!("the checkpoint of task {} is no JSON: {error}", attempt.id);
            Error::new(ErrorKind::Invalid, what).with_source(error)
        })?;
        if state.get().len() > LARGEST {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "the checkpoint of task {} has {} bytes, and may have {LARGEST}; keep where \
                     it is, not what it has",
                    attempt.id,
                    state.get().len()
                ),
            ));
        }
        let mut hold = attempt.hold().await;
        let Some(voice) = &attempt.voice else {
            hold.test = Some(state);
            return Ok(());
        };
        let mark = match &hold.mark {
            Some(mark) => mark.clone(),
            None => take(attempt, &mut hold).await?.0,
        };
        let (revision, kept) = read(attempt).await?;
        let written = match kept {
            Some(kept) if kept.by == mark => {
                let body = encode(attempt, mark, Some(state));
                voice.keep(attempt, body, revision).await?
            }
            _ => false,
        };
        if written {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "another attempt of task {} has taken over its checkpoint: this one has lost its \
                 lease, and nothing that it does counts any more",
                attempt.id
            ),
        ))
    }

    /// What an attempt of this task kept last by
    /// [`checkpoint`](Self::checkpoint), this one or one before; none if none
    /// did. From here on an attempt before this one, that was thought dead and is
    /// not, keeps nothing more.
    ///
    /// # Errors
    /// [`ErrorKind::Undecodable`] when what was kept is no `T`: a program of
    /// another version kept it. Else as [`checkpoint`](Self::checkpoint).
    pub async fn last_checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let attempt = self.inner();
        let mut hold = attempt.hold().await;
        let state = if attempt.voice.is_none() {
            hold.test.clone()
        } else if hold.mark.is_some() {
            read(attempt).await?.1.and_then(|kept| kept.state)
        } else {
            take(attempt, &mut hold).await?.1
        };
        let Some(state) = state else { return Ok(None) };
        serde_json::from_str(state.get()).map(Some).map_err(|error| {
            let what = format!(
                "what an earlier attempt of task {} kept is not what this program keeps: {error}",
                attempt.id
            );
            Error::new(ErrorKind::Undecodable, what).with_source(error)
        })
    }

    /// As [`checkpoint`](Self::checkpoint), for a blocking task.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint).
    pub fn checkpoint_blocking<T: Serialize + ?Sized>(&self, state: &T) -> Result<()> {
        futures::executor::block_on(self.checkpoint(state))
    }

    /// As [`last_checkpoint`](Self::last_checkpoint), for a blocking task.
    ///
    /// # Errors
    /// As [`last_checkpoint`](Self::last_checkpoint).
    pub fn last_checkpoint_blocking<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        futures::executor::block_on(self.last_checkpoint())
    }
}

/// Takes the checkpoint over, so that no attempt before this one writes it any
/// more; tells this one's mark, and what was kept.
async fn take(
    attempt: &Attempt,
    hold: &mut MutexGuard<'_, Hold>,
) -> Result<(String, Option<Box<RawValue>>)> {
    let Some(voice) = &attempt.voice else {
        return Ok((String::new(), None));
    };
    for _ in 0..TRIES {
        let (revision, kept) = read(attempt).await?;
        let state = kept.and_then(|kept| kept.state);
        let mark = format!("{}-{:016x}", attempt.worker, fastrand::u64(..));
        let body = encode(attempt, mark.clone(), state.clone());
        if voice.keep(attempt, body, revision).await? {
            hold.mark = Some(mark.clone());
            return Ok((mark, state));
        }
    }
    Err(Error::new(
        ErrorKind::Unavailable,
        format!(
            "the checkpoint of task {} was written by others at each of {TRIES} tries; try again",
            attempt.id
        ),
    ))
}

async fn read(attempt: &Attempt) -> Result<(u64, Option<Kept>)> {
    let Some(voice) = &attempt.voice else {
        return Ok((0, None));
    };
    let (revision, body) = voice.kept(attempt).await?;
    let kept = body.map(|body| {
        serde_json::from_slice(&body).map_err(|error| {
            let what = format!("the checkpoint of task {} is damaged: {error}", attempt.id);
            Error::new(ErrorKind::Undecodable, what).with_source(error)
        })
    });
    Ok((revision, kept.transpose()?))
}

fn encode(attempt: &Attempt, by: String, state: Option<Box<RawValue>>) -> Bytes {
    let kept = Kept {
        by,
        attempt: attempt.number,
        state,
    };
    // Texts, a number and JSON: that is JSON.
    serde_json::to_vec(&kept).unwrap_or_default().into()
}
