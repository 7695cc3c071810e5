//! `landbridge_fuzz::transfer_encoding` with any text.
#![no_main]
libfuzzer_sys::fuzz_target!(|text: &str| landbridge_fuzz::transfer_encoding(text));
