//! The C programs of `c-tests/`, on this machine: each checks itself, and must end the same way and
//! print the same lines with and without the shim.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "c_programs/checks.rs"]
mod checks;

use testkit::place::Here;

macro_rules! tests {
    ($($name:ident: $check:ident($($argument:expr),*);)*) => {
        $(#[test]
        fn $name() {
            checks::$check(&Here, $($argument),*);
        })*
    };
}

checks::every_check!(tests);

#[test]
fn nothing_changes_with_a_census_and_call_stacks_either() {
    checks::all_with_a_census_and_call_stacks(&Here);
}
