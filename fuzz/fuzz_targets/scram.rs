//! See [`kafka_fuzz::scram`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kafka_fuzz::scram(data));
