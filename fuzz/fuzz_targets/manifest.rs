//! Everything that `agentkube_fuzz::manifest` says.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| agentkube_fuzz::manifest::check(data));
