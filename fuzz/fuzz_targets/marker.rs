//! `landbridge_fuzz::marker` with any text.
#![no_main]
libfuzzer_sys::fuzz_target!(|text: &str| landbridge_fuzz::marker(text));
