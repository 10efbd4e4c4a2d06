//! See [`kafka_fuzz::codecs`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kafka_fuzz::codecs(data));
