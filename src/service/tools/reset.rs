//! `reset`: makes the guards forget what has tripped, in the running service, or in the ledger while none runs.

use std::io::Write;

use crate::guard::{Reset, Which};
use crate::pipeline::wall_clock_ms;

use super::books::Books;
use super::{Answer, Options, Refused, Told};

/// Forgets what was charged to budgets, open circuits and storm mode, or one of these; who and why are kept.
pub fn reset(options: &Options, which: Which, who: &str, why: &str, out: &mut dyn Write) -> Answer {
    let reset = Reset::new(which, who, why, wall_clock_ms()).map_err(Refused::Wrong)?;
    let books = Books::open(options)?;
    let forgotten = books.reset(&reset)?;
    writeln!(out, "{}: {forgotten}", books.name())?;
    Ok(Told::Yes)
}
