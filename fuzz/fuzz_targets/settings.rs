//! Everything that `agentkube_fuzz::settings` says.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| agentkube_fuzz::settings::check(data));
