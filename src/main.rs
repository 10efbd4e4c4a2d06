//! The binary. The life of the process is told in `kafka_consumer::service`.

use std::process::ExitCode;

fn main() -> ExitCode {
    kafka_consumer::cli::main(std::env::args_os())
}
