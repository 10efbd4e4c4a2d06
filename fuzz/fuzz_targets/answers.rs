//! See [`kafka_fuzz::answers`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kafka_fuzz::answers(data));
