//! The taskq command: demo, dev, enqueue, tasks, queues, doctor, bench
