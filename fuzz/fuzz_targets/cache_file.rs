//! `landbridge_fuzz::cache_file` with any bytes, in a folder of this process.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let folder = std::env::temp_dir().join(format!("landbridge-fuzz-{}", std::process::id()));
    if std::fs::create_dir_all(&folder).is_ok() {
        landbridge_fuzz::cache_file(&folder, bytes);
    }
});
