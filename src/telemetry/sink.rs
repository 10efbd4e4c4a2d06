//! Where log lines go: standard output always, a file beside it when one is configured.
//!
//! A line is scrubbed and written whole, under one lock. A sink that fails (full disk, closed pipe) loses the line and
//! counts it: logging never stops the work. Which file a line goes to is [`super::rotate`]'s to say.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::rotate::Rotating;
use super::scrub::Scrubber;

/// Standard output and perhaps a file.
pub(super) struct Sink {
    out: Mutex<Outputs>,
    scrubber: &'static Scrubber,
    lost: AtomicU64,
}

struct Outputs {
    first: Box<dyn Write + Send>,
    file: Option<Rotating>,
}

impl Sink {
    pub(super) fn new(first: Box<dyn Write + Send>, file: Option<Rotating>, scrubber: &'static Scrubber) -> Self {
        Self { out: Mutex::new(Outputs { first, file }), scrubber, lost: AtomicU64::new(0) }
    }

    /// Writes one line and its end.
    pub(super) fn write(&self, line: &str) {
        let mut clean = self.scrubber.scrub(line).into_owned();
        clean.push('\n');
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let first = out.first.write_all(clean.as_bytes()).and_then(|()| out.first.flush());
        let file = out.file.as_mut().map_or(Ok(()), |file| file.write(&clean, Instant::now()));
        if first.is_err() || file.is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many lines did not reach one of their places.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Rotation, scrubber};

    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_loses_lines_and_counts_them() {
        let sink = Sink::new(Box::new(Full), None, scrubber());
        sink.write("one");
        sink.write("two");
        assert_eq!(sink.lost(), 2);
    }

    #[test]
    fn a_registered_secret_never_reaches_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        scrubber().register("sink-canary-7");
        let file = Rotating::new(path.clone(), Rotation::default());
        let sink = Sink::new(Box::new(std::io::sink()), Some(file), scrubber());
        sink.write("login with sink-canary-7 failed");
        assert_eq!(std::fs::read_to_string(&path).expect("the log"), "login with *** failed\n");
    }
}
