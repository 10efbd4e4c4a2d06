//! A Kafka consumer in pure Rust: groups, SASL_SSL, IPv4 only, commits tied to ownership.

mod cluster;
mod config;
mod connection;
mod consumer;
mod dial;
mod event;
mod fetcher;
mod group;
mod offsets;
mod ownership;
mod queue;
mod request;
mod resolver;
mod sasl;
mod snapshot;
mod tls;
