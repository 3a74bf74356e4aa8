//! Everything that `agentkube_fuzz::patch` says.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| agentkube_fuzz::patch::check(data));

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, longest: usize, seed: u32| {
    agentkube_fuzz::mutation::mutate(data, size, longest, seed)
});
