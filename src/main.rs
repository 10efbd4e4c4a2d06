//! The binary. The life of the process is told in `kafka_consumer::service`.

use std::process::ExitCode;

/// musl's own allocator takes a lock and gives memory back at nearly every turn: parsing an incident took 2.5 times as long.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    kafka_consumer::cli::main(std::env::args_os())
}
