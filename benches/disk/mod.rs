//! What the disk under the temporary folder does, to stand beside what the ledger makes of it.

use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// How many times a second it makes 4 KiB durable when asked for nothing else.
pub(crate) fn fsyncs_a_second() -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let mut file = File::create(folder.path().join("probe")).expect("a file");
    let began = Instant::now();
    let mut count = 0_u32;
    while began.elapsed() < Duration::from_millis(500) {
        file.write_all(&[0; 4096]).and_then(|()| file.sync_data()).expect("writes");
        count += 1;
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}
