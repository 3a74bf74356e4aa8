//! Everything that `agentkube_fuzz::reference` says.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| agentkube_fuzz::reference::check(data));
