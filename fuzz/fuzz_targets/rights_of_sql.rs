//! `landbridge_fuzz::rights_of_sql` with any text.
#![no_main]
libfuzzer_sys::fuzz_target!(|text: &str| landbridge_fuzz::rights_of_sql(text));
