//! See [`kafka_fuzz::zstd`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kafka_fuzz::zstd(data));
