//! A worker's numbers as metrics.

use super::stats::WorkerStats;
use crate::telemetry::{End, Histogram, Kind, Page};

impl Page {
    /// A worker's numbers.
    pub fn worker(&mut self, stats: &WorkerStats) -> &mut Self {
        let tasks = stats.by_task();
        for (name, help, how) in [
            (
                "taskq_attempts_retried_total",
                "Attempts that failed and are followed by another.",
                End::Retried,
            ),
            (
                "taskq_attempts_released_total",
                "Attempts that were handed back when the worker stopped.",
                End::Released,
            ),
        ] {
            let mut family = self.family(name, Kind::Counter, help);
            for task in &tasks {
                family.value(&[("task", task.name)], task.ended(how));
            }
        }
        let mut started = self.family(
            "taskq_attempts_started_total",
            Kind::Counter,
            "Attempts that began.",
        );
        for task in &tasks {
            started.value(&[("task", task.name)], task.wait.count);
        }
        let mut ended = self.family(
            "taskq_tasks_ended_total",
            Kind::Counter,
            "Tasks that ended here for good, by how: succeeded, failed, cancelled or expired.",
        );
        for task in &tasks {
            for (state, count) in task.outcomes() {
                let labels = [("task", task.name), ("outcome", state.as_str())];
                ended.value(&labels, count);
            }
        }
        let mut dead = self.family(
            "taskq_tasks_dead_total",
            Kind::Counter,
            "Tasks that became dead letters here, by why.",
        );
        for task in &tasks {
            for (reason, count) in &task.dead {
                let labels = [("task", task.name), ("reason", reason.as_str())];
                dead.value(&labels, count);
            }
        }
        for (name, help, of) in [
            (
                "taskq_task_wait_seconds",
                "From when an attempt could begin (it was enqueued, or due) to when it did.",
                (|task| &task.wait) as fn(&crate::telemetry::OfTask) -> &Histogram,
            ),
            ("taskq_task_run_seconds", "How long attempts ran.", |task| {
                &task.run
            }),
        ] {
            let mut family = self.family(name, Kind::Histogram, help);
            // Of what has never run there is nothing to see.
            for task in tasks.iter().filter(|task| of(task).count > 0) {
                let Histogram {
                    buckets,
                    count,
                    sum,
                } = of(task);
                let buckets = buckets.iter().map(|(to, count)| (to.as_secs_f64(), *count));
                family.histogram(&[("task", task.name)], buckets, *count, sum.as_secs_f64());
            }
        }
        self.lateness(stats);
        self.one(
            "taskq_worker_slots",
            Kind::Gauge,
            "How many attempts may run at once.",
            stats.slots(),
        )
        .one(
            "taskq_worker_slots_used",
            Kind::Gauge,
            "How many attempts run.",
            stats.running(),
        )
        .one(
            "taskq_leases_renewed_total",
            Kind::Counter,
            "Leases of long attempts that NATS has renewed.",
            stats.leases_renewed(),
        )
        .one(
            "taskq_leases_lost_total",
            Kind::Counter,
            "Leases that were lost: the worker was frozen, or cut off, for longer than they last.",
            stats.leases_lost(),
        )
        .one(
            "taskq_outcomes_refused_total",
            Kind::Counter,
            "Outcomes that NATS refused, because the task had one.",
            stats.outcomes_refused(),
        )
        .one(
            "taskq_unknown_tasks_total",
            Kind::Counter,
            "Deliveries that were left to another worker, because this one does not know their task.",
            stats.passed_on(),
        )
    }

    /// How late attempts began that were put off.
    fn lateness(&mut self, stats: &WorkerStats) {
        let lateness = stats.lateness();
        let buckets = lateness.buckets.iter();
        self.family(
            "taskq_start_lateness_seconds",
            Kind::Histogram,
            "How long after their time attempts began that were put off: delays and retries.",
        )
        .histogram(
            &[],
            buckets.map(|(to, count)| (to.as_secs_f64(), *count)),
            lateness.count,
            lateness.sum.as_secs_f64(),
        );
        self.one(
            "taskq_start_lateness_max_seconds",
            Kind::Gauge,
            "How late the latest of them began.",
            lateness.max.as_secs_f64(),
        );
    }
}
