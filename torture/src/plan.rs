//! Which faults come when: a function of the seed.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

/// Other faults join the kills for so long in each [`CYCLE`], and the rest of
/// it belongs to kills alone, so that recovery from those is measured with
/// nothing else in the way.
const MIXED: f64 = 20.0;
/// The first mix begins soon, so that a short run has one.
const FIRST: f64 = 10.0;
/// From one mix to the next, in seconds.
const CYCLE: f64 = 50.0;

/// The time between two faults that are no kills, on the average.
const OTHERS: f64 = 2.5;

/// The least time between two faults of a server: one has to be got over
/// before the next is a fault of its own.
const SERVER_PAUSE: Duration = Duration::from_secs(15);

/// What the plan depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) seed: u64,
    pub(crate) length: Duration,
    pub(crate) kills_per_second: f64,
    pub(crate) workers: u8,
    pub(crate) cluster: bool,
}

/// A fault, and when it comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Planned {
    /// After the start.
    pub(crate) at: Duration,
    pub(crate) fault: Fault,
}

/// What goes wrong. Workers are told apart by their place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// SIGKILL; a new process takes its place.
    Kill(u8),
    /// SIGSTOP, and SIGCONT after so long.
    Freeze(u8, Duration),
    /// SIGTERM, and a new process at once, as in a rolling deploy.
    Drain(u8),
    /// The connections are closed.
    Cut(u8),
    /// Nothing goes through for so long, and nothing is lost.
    Hold(u8, Duration),
    /// All that the worker says, or hears, is lost for so long, and it is
    /// not told.
    HalfOpen(u8, bool, Duration),
    /// Each way takes the first time longer, for the second.
    Delay(u8, Duration, Duration),
    /// The producer's connection is closed.
    CutProducer,
    /// SIGKILL of a server, and a restart after so long.
    KillServer(u8, Duration),
    /// All servers are restarted, one after the other.
    RollingRestart,
}

impl Fault {
    /// Its kind in one word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Kill(_) => "kill",
            Self::Freeze(..) => "freeze",
            Self::Drain(_) => "drain",
            Self::Cut(_) => "cut",
            Self::Hold(..) => "hold",
            Self::HalfOpen(..) => "half_open",
            Self::Delay(..) => "delay",
            Self::CutProducer => "cut_producer",
            Self::KillServer(..) => "kill_server",
            Self::RollingRestart => "rolling_restart",
        }
    }

    /// The same, over before this time is.
    fn within(self, rest: Duration) -> Self {
        match self {
            Self::Freeze(place, time) => Self::Freeze(place, time.min(rest)),
            Self::Hold(place, time) => Self::Hold(place, time.min(rest)),
            Self::HalfOpen(place, says, time) => Self::HalfOpen(place, says, time.min(rest)),
            Self::Delay(place, by, time) => Self::Delay(place, by, time.min(rest)),
            other => other,
        }
    }

    fn is_of_a_server(&self) -> bool {
        matches!(self, Self::KillServer(..) | Self::RollingRestart)
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:8.3} s  ", self.at.as_secs_f64())?;
        let long = |time: &Duration| format!("{:.1} s", time.as_secs_f64());
        match &self.fault {
            Fault::Kill(w) => write!(f, "kill worker {w}"),
            Fault::Freeze(w, time) => write!(f, "freeze worker {w} for {}", long(time)),
            Fault::Drain(w) => write!(f, "stop worker {w} with SIGTERM"),
            Fault::Cut(w) => write!(f, "cut the connections of worker {w}"),
            Fault::Hold(w, time) => {
                write!(f, "hold the connections of worker {w} for {}", long(time))
            }
            Fault::HalfOpen(w, says, time) => write!(
                f,
                "lose all that worker {w} {} for {}",
                if *says { "says" } else { "is told" },
                long(time)
            ),
            Fault::Delay(w, by, time) => write!(
                f,
                "delay the connections of worker {w} by {} ms for {}",
                by.as_millis(),
                long(time)
            ),
            Fault::CutProducer => write!(f, "cut the producer's connection"),
            Fault::KillServer(n, time) => write!(f, "kill server {n} for {}", long(time)),
            Fault::RollingRestart => write!(f, "restart the servers, one after the other"),
        }
    }
}

/// Whether the worker of this place is behind a proxy: some are, so that
/// what a stretch of network does to one can be told from what all suffer.
pub(crate) fn has_proxy(place: u8) -> bool {
    place.is_multiple_of(2)
}

/// The plan of a run.
pub(crate) fn plan(setting: &Setting) -> Vec<Planned> {
    // A generator each, so that another rate of kills leaves the others as
    // they are.
    let mut rng = Rng::with_seed(setting.seed);
    let (mut kills, mut others) = (rng.fork(), rng.fork());
    let mut planned = Vec::new();
    if setting.kills_per_second > 0.0 {
        let mut at = 0.0;
        loop {
            at += kills.f64() * 2.0 / setting.kills_per_second;
            if at >= setting.length.as_secs_f64() {
                break;
            }
            let fault = Fault::Kill(kills.u8(0..setting.workers));
            let at = Duration::from_secs_f64(at);
            planned.push(Planned { at, fault });
        }
    }
    let (mut at, mut server) = (0.0, None::<Duration>);
    loop {
        at += others.f64() * 2.0 * OTHERS;
        let now = Duration::from_secs_f64(at);
        if now >= setting.length {
            break;
        }
        let fault = draw(&mut others, setting);
        let mixed = (at - FIRST).rem_euclid(CYCLE);
        let is_alone = at < FIRST || mixed > MIXED;
        let is_too_soon =
            fault.is_of_a_server() && server.is_some_and(|last| now < last + SERVER_PAUSE);
        if is_alone || is_too_soon {
            continue;
        }
        if fault.is_of_a_server() {
            server = Some(now);
        }
        let fault = fault.within(Duration::from_secs_f64(MIXED - mixed));
        planned.push(Planned { at: now, fault });
    }
    planned.sort_by_key(|planned| planned.at);
    planned
}

fn draw(rng: &mut Rng, setting: &Setting) -> Fault {
    // The same draws whatever comes of them, so that plans stay alike.
    let (kind, any, long) = (rng.u8(0..16), rng.u8(0..setting.workers), rng.f64());
    let says = rng.bool();
    let proxied = any - any % 2;
    let seconds = |from: f64, to: f64| Duration::from_secs_f64(from + long * (to - from));
    match kind {
        // Past the lease, most of the time.
        0..=2 => Fault::Freeze(any, seconds(4.0, 10.0)),
        3..=4 => Fault::Drain(any),
        5..=6 => Fault::Cut(proxied),
        7..=8 => Fault::Hold(proxied, seconds(1.0, 10.0)),
        9..=10 => Fault::HalfOpen(proxied, says, seconds(2.0, 10.0)),
        11 => Fault::Delay(proxied, seconds(0.005, 0.3), seconds(3.0, 8.0)),
        12..=13 => Fault::CutProducer,
        14 if setting.cluster => Fault::RollingRestart,
        _ => {
            let server = if setting.cluster { rng.u8(0..3) } else { 0 };
            Fault::KillServer(server, seconds(0.2, 4.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(seed: u64) -> Setting {
        Setting {
            seed,
            length: Duration::from_secs(600),
            kills_per_second: 1.0,
            workers: 3,
            cluster: false,
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_gives_another() {
        assert_eq!(plan(&setting(1)), plan(&setting(1)));
        assert_ne!(plan(&setting(1)), plan(&setting(2)));
    }

    #[test]
    fn a_longer_run_begins_like_a_shorter_one() {
        let short = Setting {
            length: Duration::from_secs(100),
            ..setting(7)
        };
        let (short, long) = (plan(&short), plan(&setting(7)));
        assert_eq!(short, long[..short.len()]);
    }

    #[test]
    fn a_worker_is_killed_every_second_and_all_else_happens_too() {
        let plan = plan(&setting(3));
        let count = |kind| plan.iter().filter(|it| it.fault.kind() == kind).count();
        assert!((500..700).contains(&count("kill")), "{}", count("kill"));
        let kinds = ["freeze", "drain", "cut", "hold", "half_open", "delay"];
        for kind in kinds.into_iter().chain(["cut_producer", "kill_server"]) {
            assert!(count(kind) > 0, "{kind}");
        }
        for planned in &plan {
            if let Fault::Cut(place) | Fault::Hold(place, _) | Fault::HalfOpen(place, ..) =
                planned.fault
            {
                assert!(has_proxy(place) && place < 3);
            }
        }
    }
}
