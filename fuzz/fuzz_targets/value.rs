//! `landbridge_fuzz::value` with any text.
#![no_main]
libfuzzer_sys::fuzz_target!(|text: &str| landbridge_fuzz::value(text));
