//! `landbridge_fuzz::id_set` with any text.
#![no_main]
libfuzzer_sys::fuzz_target!(|text: &str| landbridge_fuzz::id_set(text));
