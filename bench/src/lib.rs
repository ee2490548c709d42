//! Measures taskq beside a raw async-nats loop
