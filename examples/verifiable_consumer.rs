//! A consumer that tells everything it does as JSON lines: the contract of Apache Kafka's own `VerifiableConsumer`, so
//! that suites written for that tool can test this client.
//!
//! ```text
//! cargo run --example verifiable_consumer --no-default-features -- \
//!     --bootstrap-server 127.0.0.1:9092 --group-id demo --topic incidents --command-config client.properties
//! ```
//!
//! Uses the public API of `kafka_consumer::client` alone. Promised: standard output holds nothing but events, one line
//! each and flushed; everything else goes to standard error. A consumer that cannot go on says why there, and ends with
//! `shutdown_complete` and 0, as Apache's tool does. Differs from it in two points: `count` never counts records beyond
//! `--max-messages`, and what `--consumer.config` is to be replaced by is told on standard error. `isolation.level` is this client's default,
//! `read_committed`, unless the file says otherwise.

#[path = "verifiable_consumer/events.rs"]
mod events;
#[path = "verifiable_consumer/options.rs"]
mod options;
#[path = "verifiable_consumer/run.rs"]
mod run;
#[path = "verifiable_consumer/slices.rs"]
mod slices;

use std::process::ExitCode;

use options::{Asked, Options};

#[tokio::main]
async fn main() -> ExitCode {
    match options::read(std::env::args().skip(1)) {
        Ok(Asked::Help) => {
            eprint!("{}", options::HELP);
            ExitCode::SUCCESS
        }
        Ok(Asked::Run(options)) => start(*options).await,
        Err(mistake) => {
            eprintln!("verifiable_consumer: {mistake}");
            ExitCode::FAILURE
        }
    }
}

async fn start(options: Options) -> ExitCode {
    match run::run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("verifiable_consumer: {error}");
            ExitCode::FAILURE
        }
    }
}
