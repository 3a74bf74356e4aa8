//! Everything that `agentkube_fuzz::registry` says.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| agentkube_fuzz::registry::check(data));
