//! Who is compared, and how each plays its parts.

use anyhow::Result;

use crate::options::{Contender, Load, PartOptions, Phase, Role};
use crate::part::{Parent, Report, consume, produce, say};
use crate::{library, raw};

impl Contender {
    /// Makes what it keeps on the server, where nothing is yet.
    pub(crate) async fn set_up(self, url: &str) -> Result<()> {
        match self {
            Self::Raw => raw::set_up(url).await,
            Self::Taskq => library::set_up(url).await,
        }
    }

    /// Plays a part of it in this process.
    pub(crate) async fn play(
        self,
        part: &PartOptions,
        load: Load,
        parent: &mut Parent,
    ) -> Result<Report> {
        match (self, part.role) {
            (Self::Raw, Role::Producer) => produce::<raw::Producer>(part, load, parent).await,
            (Self::Raw, Role::Worker) => consume::<raw::Worker>(part, load, parent).await,
            (Self::Taskq, Role::Producer) => produce::<library::Producer>(part, load, parent).await,
            (Self::Taskq, Role::Worker) => consume::<library::Worker>(part, load, parent).await,
        }
    }
}

/// Plays the part, and ends with the process that asked for it.
pub(crate) async fn run(part: PartOptions, load: Load) -> Result<()> {
    let mut parent = Parent::listen();
    let report = part.contender.play(&part, load, &mut parent).await?;
    say(&serde_json::to_string(&report)?)?;
    parent.gone().await;
    Ok(())
}

/// Whether a part of this role is there in a phase.
pub(crate) fn takes_part(role: Role, phase: Phase) -> bool {
    role == Role::Producer || phase != Phase::Enqueue
}
