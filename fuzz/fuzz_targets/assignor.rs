//! See [`kafka_fuzz::assignor`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kafka_fuzz::assignor(data));
