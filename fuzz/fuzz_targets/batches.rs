//! See [`kafka_fuzz::batches`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kafka_fuzz::batches(data));
