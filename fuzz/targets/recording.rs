#![no_main]

#[path = "../../crates/recording/tests/invariants/mod.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    invariants::recording(bytes);
});
