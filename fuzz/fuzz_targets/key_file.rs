//! `landbridge_fuzz::key_file` with any text.
#![no_main]
libfuzzer_sys::fuzz_target!(|text: &str| landbridge_fuzz::key_file(text));
