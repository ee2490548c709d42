//! Finds or fetches a nats-server and runs it for as long as its owner lives
