//! Tests of taskq across processes, against a real nats-server
