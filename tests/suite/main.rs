//! The integration tests: one binary, one module per area.

mod architecture;
mod bad_input;
mod browser;
mod cli_checks;
mod cli_help;
mod cli_replay;
mod cli_test;
mod cli_tools;
mod client_consumer;
mod client_group;
mod client_producer;
mod client_transport;
mod container;
mod dashboards;
mod doctor;
mod engine;
mod example_config;
mod faults;
mod migration;
mod page;
mod real_kafka;
mod secrets;
mod service_history;
mod service_life;
mod verifiable;
mod world;
