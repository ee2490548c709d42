//! Keeping the workers: the loop that starts, drains and replaces them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use taskq::admin::pools::{self, PoolChange, PoolMode, PoolTarget, PoolWish, PoolWorker, Waiting};
use taskq::admin::{WorkerDeath, pools::Pool as Status};
use taskq::cli::stop_signal;
use taskq::pool::{Request, Requests, record_death};
use taskq::{Client, Timestamp};
use tokio::sync::mpsc;

use crate::decide::{Load, Rules, Scaler, rough};
use crate::guard::Guard;
use crate::process::{Exit, Member, Recipe, program_name};
use crate::restarts::{LOOP, Restarts, STEADY};
use crate::{Args, system};

/// How often the workers are looked at: their notes and their memory.
const SAMPLE: Duration = Duration::from_millis(250);
/// How often NATS is asked what waits.
const LOOK: Duration = Duration::from_secs(1);
/// How long it may take to answer.
const LOOK_LIMIT: Duration = Duration::from_secs(5);
/// A worker that has not noted anything for so long is not on its way.
const ON_ITS_WAY: Duration = Duration::from_secs(15);
/// So many deaths are told in the status.
const DEATHS: usize = 10;

/// The workers, and what is known of them.
pub(crate) struct Pool {
    name: String,
    rules: Rules,
    queues: Vec<String>,
    client: Client,
    recipe: Recipe,
    guard: Guard,
    /// All times are counted from here.
    born: Instant,
    born_at: Timestamp,
    members: Vec<Member>,
    exits: mpsc::UnboundedSender<Exit>,
    exited: mpsc::UnboundedReceiver<Exit>,
    /// Tells this pool's workers from those of one of the same name before it.
    mark: String,
    /// How many workers have been started.
    count: u64,
    /// How many of them in the place of one that ended by itself.
    restarts: u64,
    /// How many places are free whose worker ended by itself.
    vacant: u64,
    scaler: Scaler,
    /// The number that an operator set.
    fixed: Option<usize>,
    /// The last change of the number.
    changed: Option<PoolChange>,
    pace: Restarts,
    /// When the last worker died.
    last_death: Option<Instant>,
    deaths: VecDeque<WorkerDeath>,
    /// How the last worker that did not get up ended, or why it did not start.
    last_end: String,
    /// The same, of the system's memory, when it was last looked at.
    killed_for_memory: Option<u64>,
    load: Load,
    /// Why it is not known what waits.
    blind: Option<String>,
    stopping: bool,
}

impl Pool {
    pub(crate) fn new(
        name: String,
        rules: Rules,
        args: &Args,
        client: Client,
        recipe: Recipe,
        guard: Guard,
    ) -> Self {
        let (exits, exited) = mpsc::unbounded_channel();
        let queues = args.queues.iter().map(|queue| queue.name().to_owned());
        Self {
            rules,
            queues: queues.collect(),
            client,
            recipe,
            guard,
            born: Instant::now(),
            born_at: Timestamp::now(),
            members: Vec::new(),
            exits,
            exited,
            mark: (0..4)
                .map(|_| fastrand::alphanumeric().to_ascii_lowercase())
                .collect(),
            count: 0,
            restarts: 0,
            vacant: 0,
            scaler: Scaler::new(Duration::ZERO, rules.min),
            fixed: None,
            changed: None,
            pace: Restarts::default(),
            last_death: None,
            deaths: VecDeque::new(),
            last_end: String::new(),
            killed_for_memory: system::killed_for_memory(),
            load: Load::default(),
            blind: None,
            stopping: false,
            name,
        }
    }

    /// Until it is told to stop, and its workers have ended.
    pub(crate) async fn keep(mut self, mut requests: Requests) -> anyhow::Result<()> {
        tracing::info!(
            pool = self.name,
            program = %self.recipe.program.display(),
            "{} to {} workers of queues {}",
            self.rules.min,
            self.rules.max,
            self.queues.join(", ")
        );
        let mut looks = self.look_on();
        let mut sample = tokio::time::interval(SAMPLE);
        sample.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut listening = true;
        let mut stop = Box::pin(stop_signal());
        loop {
            self.adjust()?;
            if self.stopping && self.members.is_empty() {
                break;
            }
            tokio::select! {
                Some(exit) = self.exited.recv() => self.ended(&exit),
                _ = sample.tick() => self.sample(),
                Some(look) = looks.recv() => self.looked(look),
                request = requests.next(), if listening => match request {
                    Some(Request::Status(asking)) => asking.answer(&self.status()).await,
                    Some(Request::Wish(wish, bidding)) => {
                        let before = self.target();
                        match self.grant(&wish) {
                            Ok(()) => {
                                self.note_change(before, "an operator said so".to_owned());
                                bidding.done(before, self.target()).await;
                            }
                            Err(why) => bidding.refuse(before, why).await,
                        }
                    }
                    Some(_) => {}
                    // It can still keep its workers.
                    None => listening = false,
                },
                () = &mut stop => {
                    stop = Box::pin(stop_signal());
                    self.stop();
                }
            }
        }
        tracing::info!(pool = self.name, "stopped");
        self.guard.release();
        Ok(())
    }

    /// Looks at what waits, again and again.
    fn look_on(&self) -> mpsc::Receiver<Result<Waiting, String>> {
        let (tell, told) = mpsc::channel(1);
        let (client, queues) = (self.client.clone(), self.queues.clone());
        tokio::spawn(async move {
            loop {
                let look = tokio::time::timeout(LOOK_LIMIT, pools::waiting(&client, &queues));
                let found = match look.await {
                    Ok(found) => found.map_err(|error| error.to_string()),
                    Err(_) => Err(format!(
                        "NATS does not answer within {}",
                        taskq::format_duration(LOOK_LIMIT)
                    )),
                };
                if tell.send(found).await.is_err() {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        told
    }

    fn now(&self) -> Duration {
        self.born.elapsed()
    }

    /// Those that are not told to stop.
    fn working(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.draining)
    }

    fn target(&self) -> PoolTarget {
        PoolTarget {
            mode: match self.fixed {
                Some(_) => PoolMode::Fixed,
                None => PoolMode::Automatic,
            },
            target: match self.stopping {
                true => 0,
                false => self.fixed.unwrap_or_else(|| self.scaler.wanted()),
            },
        }
    }

    /// Starts what is missing, and drains what is too much.
    fn adjust(&mut self) -> anyhow::Result<()> {
        if !self.guard.lives() {
            self.guard_anew();
        }
        let target = self.target().target;
        while self.working().count() < target && self.pace.left(self.now()).is_zero() {
            if let Err(error) = self.start() {
                // That it cannot be started at all is a mistake in the settings.
                if self.count == 0 {
                    return Err(error);
                }
                tracing::error!(pool = self.name, "{error:#}");
                self.last_end = format!("{error:#}");
                let now = self.now();
                self.pace.died(now, Duration::ZERO);
            }
        }
        while self.working().count() > target {
            let least = self.members.iter_mut().filter(|member| !member.draining);
            // Of those that run as little, the youngest.
            let least =
                least.min_by_key(|member| (member.busy(), std::cmp::Reverse(member.started)));
            let Some(member) = least else { break };
            tracing::info!(pool = self.name, worker = member.name, "draining");
            member.stop();
        }
        Ok(())
    }

    fn start(&mut self) -> anyhow::Result<()> {
        let name = format!("{}-{}-{}", self.name, self.mark, self.count + 1);
        let member = Member::start(&self.recipe, name, self.exits.clone())?;
        self.count += 1;
        self.guard.add(member.pid, &member.name);
        if self.vacant > 0 {
            self.vacant -= 1;
            self.restarts += 1;
        }
        let now = self.now();
        self.pace.started(now);
        tracing::info!(
            pool = self.name,
            worker = member.name,
            process = member.pid,
            "started"
        );
        self.members.push(member);
        Ok(())
    }

    fn guard_anew(&mut self) {
        match Guard::start(&self.recipe.run, self.recipe.patience) {
            Ok(mut guard) => {
                for member in &self.members {
                    guard.add(member.pid, &member.name);
                }
                tracing::warn!(
                    pool = self.name,
                    "the guard of the workers had ended; started again"
                );
                self.guard = guard;
            }
            Err(error) => tracing::error!(
                pool = self.name,
                "no guard can be started; were this process killed, its workers would go on: {error}"
            ),
        }
    }

    /// Looks at the workers.
    fn sample(&mut self) {
        self.members.iter_mut().for_each(Member::look);
        self.killed_for_memory = system::killed_for_memory();
        if self.pace.quick() > 0 {
            let died = self.last_death;
            let up = self.working().any(|member| {
                let is_later = died.is_none_or(|died| member.started >= died);
                is_later && member.notes.is_some() && member.started.elapsed() >= STEADY
            });
            if up {
                self.pace.got_up();
            }
        }
    }

    /// Goes by what waits.
    fn looked(&mut self, look: Result<Waiting, String>) {
        let waiting = match look {
            Ok(waiting) => waiting,
            Err(error) => {
                // The number is kept until it is known again.
                if self.blind.is_none() {
                    tracing::warn!(pool = self.name, "it is not known what waits: {error}");
                }
                self.blind = Some(error);
                return;
            }
        };
        self.blind = None;
        let takes = |member: &&Member| member.state() == "running";
        let on_its_way = |member: &&Member| {
            member.state() == "starting" && member.started.elapsed() < ON_ITS_WAY
        };
        let busy: usize = self.working().map(Member::busy).sum();
        let slots = self
            .working()
            .filter(takes)
            .filter_map(|member| member.notes.as_ref());
        let slots: usize = slots.map(|notes| notes.concurrency).sum();
        self.load = Load {
            waiting: waiting.tasks,
            oldest: waiting
                .since
                .map_or(Duration::ZERO, |since| Timestamp::now().since(since)),
            busy: busy as u64,
            slots: slots as u64,
            starting: self.working().filter(on_its_way).count(),
        };
        if self.fixed.is_some() || self.stopping {
            return;
        }
        let (target, now) = (self.target(), self.now());
        let before = target.target;
        let after = self.scaler.decide(now, &self.load, &self.rules);
        if after != before {
            let why = self.load.why(after > before);
            self.note_change(target, why);
            tracing::info!(
                pool = self.name,
                waiting = self.load.waiting,
                oldest_ms = self.load.oldest.as_millis(),
                busy = self.load.busy,
                slots = self.load.slots,
                "{before} -> {after} workers"
            );
        }
    }

    /// Keeps what has changed since `before`, and why.
    fn note_change(&mut self, before: PoolTarget, why: String) {
        let after = self.target();
        if after != before {
            let at = Timestamp::now();
            self.changed = Some(PoolChange {
                at,
                before,
                after,
                why,
            });
        }
    }

    /// Does what an operator wishes, or says why not.
    fn grant(&mut self, wish: &PoolWish) -> Result<(), String> {
        if self.stopping {
            return Err("it is ending".to_owned());
        }
        let target = self.target().target;
        let Rules { min, max, .. } = self.rules;
        let within = |count: usize| match (min..=max).contains(&count) {
            true => Ok(count),
            false => Err(format!(
                "it keeps {min} to {max} workers; start it with another --min or --max for {count}"
            )),
        };
        match wish {
            PoolWish::Scale { count: Some(count) } => self.fixed = Some(within(*count)?),
            PoolWish::Scale { count: None } => {
                let (now, target) = (self.now(), self.target().target);
                self.scaler = Scaler::new(now, target);
                self.fixed = None;
            }
            PoolWish::Add { count } => {
                self.fixed = Some(within(target.saturating_add(*count))?);
            }
            PoolWish::Remove { worker } => {
                let fewer = target.saturating_sub(1);
                let place = self
                    .members
                    .iter()
                    .position(|member| member.name == *worker);
                let Some(member) = place.map(|place| &mut self.members[place]) else {
                    return Err(format!("it has no worker `{worker}`"));
                };
                if member.draining {
                    return Err(format!("worker `{worker}` drains already"));
                }
                self.fixed = Some(within(fewer)?);
                self.members[place.unwrap_or_default()].stop();
            }
            PoolWish::Stop => self.stop(),
            _ => return Err("this version does not know how".to_owned()),
        }
        tracing::info!(pool = self.name, ?wish, "an operator's wish");
        Ok(())
    }

    /// Drains all; told again, lets them hand back what runs.
    fn stop(&mut self) {
        tracing::info!(pool = self.name, workers = self.members.len(), "stopping");
        self.stopping = true;
        self.members.iter_mut().for_each(Member::stop);
    }

    /// Sees to what a worker leaves behind, and what it died of.
    fn ended(&mut self, exit: &Exit) {
        let Some(place) = self
            .members
            .iter()
            .position(|member| member.pid == exit.pid)
        else {
            return;
        };
        let mut member = self.members.remove(place);
        self.guard.remove(exit.pid);
        // What it ran when it died.
        member.look();
        member.clear();
        let well = exit
            .status
            .as_ref()
            .is_ok_and(std::process::ExitStatus::success);
        let lived = member.started.elapsed();
        if !well {
            let death = self.death(&member, exit, lived);
            tracing::error!(
                pool = self.name,
                worker = death.worker,
                ran = death.running.len(),
                "{}{}: {death}",
                if exit.overdue {
                    "did not end within its grace and was "
                } else {
                    "died"
                },
                if exit.overdue { "ended" } else { "" },
            );
            record_death(&self.client, &death);
            self.last_end = death.to_string();
            self.deaths.push_front(death);
            self.deaths.truncate(DEATHS);
        }
        if member.draining {
            if well {
                tracing::info!(pool = self.name, worker = member.name, "drained");
            }
            return;
        }
        if well {
            tracing::warn!(
                pool = self.name,
                worker = member.name,
                "ended by itself, with code 0; another takes its place"
            );
            self.last_end = format!("ended with code 0 after {}", rough(lived));
        }
        self.vacant += 1;
        self.last_death = Some(Instant::now());
        // One that never took a task did not get up, however long it tried.
        let lived = if member.notes.is_some() {
            lived
        } else {
            Duration::ZERO
        };
        let now = self.now();
        self.pace.died(now, lived);
        if self.pace.quick() >= LOOP {
            tracing::error!(pool = self.name, "{}", self.trouble().unwrap_or_default());
        }
    }

    fn death(&mut self, member: &Member, exit: &Exit, lived: Duration) -> WorkerDeath {
        use std::os::unix::process::ExitStatusExt as _;
        let status = exit.status.as_ref().ok();
        let signal = status.and_then(std::process::ExitStatus::signal);
        let killed = system::killed_for_memory();
        let out_of_memory = signal == Some(9) && !exit.overdue && killed > self.killed_for_memory;
        self.killed_for_memory = killed;
        WorkerDeath {
            worker: member.name.clone(),
            at: Timestamp::now(),
            pool: self.name.clone(),
            host: Some(system::host()),
            process: member.pid,
            lived_ms: u64::try_from(lived.as_millis()).unwrap_or(u64::MAX),
            code: status.and_then(std::process::ExitStatus::code),
            signal,
            signal_name: signal.and_then(system::signal_name),
            out_of_memory,
            peak_memory_bytes: member.peak_memory,
            running: member
                .notes
                .as_ref()
                .map_or_else(Vec::new, |notes| notes.running.clone()),
            log: member.last_words(),
        }
    }

    /// Why it does not get on.
    fn trouble(&self) -> Option<String> {
        if self.pace.quick() >= LOOP {
            let left = self.pace.left(self.now());
            let next = match left.is_zero() {
                true => "the next is tried".to_owned(),
                false => format!("the next is started in {}", rough(left)),
            };
            let mut text = format!(
                "its workers do not stay up: {} in a row ended soon after their start, the last: {}",
                self.pace.quick(),
                self.last_end
            );
            let said = self.deaths.front().and_then(|death| death.log.last());
            if let Some(line) = said {
                text.push_str(&format!(", its last words: {line}"));
            }
            return Some(format!("{text}; {next}"));
        }
        let blind = self.blind.as_ref()?;
        Some(format!(
            "it keeps its number, for it is not known what waits: {blind}"
        ))
    }

    fn status(&self) -> Status {
        let PoolTarget { mode, target } = self.target();
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Status {
            pool: self.name.clone(),
            namespace: self.client.namespace().to_owned(),
            host: Some(system::host()),
            process: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: self.born_at,
            queues: self.queues.clone(),
            program: program_name(&self.recipe.program),
            min: self.rules.min,
            max: self.rules.max,
            mode,
            target,
            waiting: self.load.waiting,
            oldest_ms: millis(self.load.oldest),
            busy: self.load.busy,
            slots: self.load.slots,
            restarts: self.restarts,
            stopping: self.stopping,
            trouble: self.trouble(),
            changed: self.changed.clone(),
            workers: self.members.iter().map(told).collect(),
            deaths: self.deaths.iter().cloned().collect(),
        }
    }
}

fn told(member: &Member) -> PoolWorker {
    PoolWorker {
        worker: member.name.clone(),
        process: member.pid,
        state: member.state().to_owned(),
        started_at: member.started_at,
        running: member.busy() as u64,
        peak_memory_bytes: member.peak_memory,
    }
}
