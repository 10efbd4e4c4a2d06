//! The main job in miniature: a broker with TLS and SCRAM, a webhook target, and the real service between them.
//!
//! `cargo run --release --example demo` publishes a few hundred incidents to a running service, stops it with SIGTERM,
//! and holds what happened against what the story says must happen. Exit 0 only if all of it is so. `-- --stay` keeps
//! everything up, with the page on 127.0.0.1:4080, until Ctrl-C.

mod report;
mod story;
mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use kafka_consumer::service::{self, Exit};

use crate::report::Checks;
use crate::story::Story;
use crate::world::World;

/// How long the service may take for everything.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    match demo() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> anyhow::Result<bool> {
    let stay = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--stay") => true,
        Some(other) => bail!("unknown argument `{other}`; there is only --stay"),
    };
    let begun = Instant::now();
    let story = Story::tell(now_unix_s()?);
    let world = World::build(&story, stay)?;
    report::opening(&story, &world);

    let options = world.options();
    let service = std::thread::spawn(move || service::run(&options));
    for chapter in 0..story::CHAPTERS {
        world.publish(&story, chapter);
        wait_until_done(&world, &service)?;
    }
    let metrics = world.metrics()?;
    if stay {
        println!("\nstaying up: http://{}/status.html (Ctrl-C ends it)", world.listen());
        let exit = service.join().map_err(|_| anyhow::anyhow!("the service panicked"))?;
        return Ok(exit == Exit::Stopped);
    }
    World::ask_to_stop()?;
    let exit = service.join().map_err(|_| anyhow::anyhow!("the service panicked"))?;

    let mut checks = Checks::default();
    report::decisions(&story, &world, &mut checks)?;
    report::outcomes(&story, &world, &metrics, &mut checks)?;
    report::offsets(&world, &mut checks);
    checks.hold("the service ended as asked", exit == Exit::Stopped);
    println!("\n{:.1} s in all", begun.elapsed().as_secs_f64());
    Ok(checks.all_hold())
}

/// Until every partition is committed to its end. Progress goes to standard error, and only to a terminal.
fn wait_until_done(world: &World, service: &std::thread::JoinHandle<Exit>) -> anyhow::Result<()> {
    let bar = indicatif::ProgressBar::new(world.records_in_all());
    bar.set_style(indicatif::ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} records committed")?);
    bar.set_message("working");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let committed = world.committed_in_all();
        bar.set_position(committed);
        if committed == world.records_in_all() {
            bar.finish_and_clear();
            return Ok(());
        }
        if service.is_finished() {
            bail!("the service ended early; its last line says why");
        }
        if Instant::now() > deadline {
            bail!("{committed} of {} records were committed within {PATIENCE:?}", world.records_in_all());
        }
        World::breathe();
    }
}

fn now_unix_s() -> anyhow::Result<i64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(i64::try_from(now.as_secs())?)
}
