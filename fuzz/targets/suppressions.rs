#![no_main]
#![allow(dead_code)]

#[path = "../../crates/format/tests/invariants/mod.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|text: &[u8]| invariants::suppressions(text));
