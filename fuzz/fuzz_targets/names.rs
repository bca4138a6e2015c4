#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| beachdb::crash::hostile::run("names", bytes));
