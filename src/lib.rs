//! Consumes BigPanda incidents from Kafka and runs their automated remediation once, with a durable record.
//!
//! Two halves: [`client`], a Kafka consumer that stands alone (`default-features = false`), and the incident
//! processor around it (feature `service`). They meet in `pipeline` and nowhere else.

pub mod client;

/// The snippets of the comparison with other clients, which must compile.
#[cfg(doctest)]
#[doc = include_str!("../docs/client.md")]
pub struct Comparison;

#[cfg(feature = "service")]
pub mod action;
#[cfg(feature = "service")]
pub mod certificate;
#[cfg(feature = "service")]
pub mod ckms;
#[cfg(feature = "service")]
pub mod cli;
#[cfg(feature = "service")]
pub mod condition;
#[cfg(feature = "service")]
pub mod config;
#[cfg(feature = "service")]
pub mod container;
#[cfg(feature = "service")]
pub mod dead_letter;
#[cfg(feature = "service")]
pub mod files;
#[cfg(feature = "service")]
pub mod guard;
#[cfg(feature = "service")]
pub mod http;
#[cfg(feature = "service")]
pub mod incident;
#[cfg(feature = "service")]
pub mod ledger;
#[cfg(feature = "service")]
pub mod pipeline;
#[cfg(feature = "service")]
pub mod plan;
#[cfg(feature = "service")]
pub mod secret;
#[cfg(feature = "service")]
pub mod service;
#[cfg(feature = "service")]
pub mod telemetry;
#[cfg(feature = "service")]
pub mod template;
#[cfg(feature = "service")]
pub mod traces;
#[cfg(feature = "service")]
pub mod transport;
#[cfg(feature = "service")]
pub mod yaml;
