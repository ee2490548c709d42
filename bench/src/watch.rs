//! What the processes of a phase use while it runs.

use std::time::{Duration, Instant};

use crate::summary::{Usage, Used};
use crate::usage;

/// Watches what the server, the producer and the worker use.
pub(crate) struct Watch {
    begin: Instant,
    machine: Option<Duration>,
    pids: [Option<u32>; 3],
    cpu: [Option<Duration>; 3],
    idle: [Option<u64>; 3],
    peak: [Option<u64>; 3],
}

impl Watch {
    pub(crate) fn begin(pids: [Option<u32>; 3]) -> Self {
        let idle = pids.map(|pid| usage::memory(pid?));
        Self {
            begin: Instant::now(),
            machine: usage::machine_cpu(),
            pids,
            cpu: pids.map(|pid| usage::cpu(pid?)),
            idle,
            peak: idle,
        }
    }

    pub(crate) fn sample(&mut self) {
        for (pid, peak) in self.pids.iter().zip(&mut self.peak) {
            *peak = (*peak).max(pid.and_then(usage::memory));
        }
    }

    /// What each used, and the share of the machine that others used.
    pub(crate) fn end(mut self, tasks: u64) -> (Usage, Option<f64>) {
        self.sample();
        let mut ours = Duration::ZERO;
        let [server, producer, worker] = std::array::from_fn(|at| {
            let cpu = self.pids[at].and_then(usage::cpu);
            let cpu = cpu
                .zip(self.cpu[at])
                .map(|(end, begin)| end.saturating_sub(begin));
            ours += cpu.unwrap_or_default();
            let cpu_us_per_task = cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / tasks as f64);
            Used::new(cpu_us_per_task, self.idle[at], self.peak[at])
        });
        let machine = usage::machine_cpu().zip(self.machine);
        let foreign = machine.map(|(end, begin)| {
            let others = end.saturating_sub(begin).saturating_sub(ours);
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            others.as_secs_f64() / self.begin.elapsed().as_secs_f64() / cores as f64
        });
        let usage = Usage {
            server,
            producer,
            worker,
        };
        (usage, foreign)
    }
}
