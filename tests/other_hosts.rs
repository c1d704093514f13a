//! The library and the command on other hosts than this machine: root directories with older and
//! newer C libraries, with musl, and without libgcc_s. scripts/host-root makes them, as root, from
//! Debian's packages. A host whose packages cannot be downloaded is skipped, with a message.
//!
//! `make test` tests the oldest host and musl; `make test-hosts` tests all. docs/hosts.md has the
//! results.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code)] // servers of this machine are not asked here
mod programs;

#[allow(dead_code)] // each with a census is a check of its own here
#[path = "c_programs/checks.rs"]
mod checks;
#[path = "other_hosts/host.rs"]
mod host;
#[path = "other_hosts/rows.rs"]
mod rows;
#[path = "other_hosts/table.rs"]
mod table;
#[path = "other_hosts/without.rs"]
mod without;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock};

use host::Host;
use rows::Outcome;

/// A row of the results: its name in docs/hosts.md, and the function that tests it.
type Row = (&'static str, fn(&Host) -> Outcome);

const ROWS: [Row; 5] = [
    ("C programs", rows::c_programs),
    ("options", rows::options),
    ("redis-server", rows::redis),
    ("asyncio", rows::asyncio),
    ("the command", rows::command),
];

const HOSTS: [&str; 9] =
    ["bullseye", "bookworm", "trixie", "sid", "no-libgcc", "musl", "musl-bullseye", "musl-trixie", "musl-sid"];

/// The result of a row on a host, computed once. None if the host cannot be made here.
fn outcome(host: &'static str, row: &'static str) -> Option<&'static Result<Outcome, String>> {
    type Known = Mutex<Vec<((&'static str, &'static str), &'static OnceLock<Result<Outcome, String>>)>>;
    static KNOWN: Known = Mutex::new(Vec::new());
    let made = Host::get(host)?;
    let cell = {
        let mut known = KNOWN.lock().unwrap();
        match known.iter().find(|(key, _)| *key == (host, row)) {
            Some((_, cell)) => *cell,
            None => {
                let cell: &'static OnceLock<_> = Box::leak(Box::default());
                known.push(((host, row), cell));
                cell
            }
        }
    };
    Some(cell.get_or_init(|| {
        let show = ROWS.iter().find(|(name, _)| *name == row).expect("a row").1;
        catch_unwind(AssertUnwindSafe(|| show(made))).map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
        })
    }))
}

/// Asserts that the row passes, and that docs/hosts.md has its result.
fn holds(host: &'static str, row: &'static str) {
    match outcome(host, row) {
        None => {}
        Some(Err(failure)) => panic!("{failure}"),
        Some(Ok(outcome)) => table::says(host, row, outcome),
    }
}

macro_rules! hosts {
    ($($module:ident = $host:literal $(, $ignored:literal)?;)*) => {
        $(mod $module {
            #[test]
            $(#[ignore = $ignored])?
            fn c_programs() { super::holds($host, "C programs"); }
            #[test]
            $(#[ignore = $ignored])?
            fn options() { super::holds($host, "options"); }
            #[test]
            $(#[ignore = $ignored])?
            fn redis_server() { super::holds($host, "redis-server"); }
            #[test]
            $(#[ignore = $ignored])?
            fn asyncio() { super::holds($host, "asyncio"); }
            #[test]
            $(#[ignore = $ignored])?
            fn the_command() { super::holds($host, "the command"); }
        })*
    };
}

hosts! {
    bullseye = "bullseye";
    musl = "musl";
    bookworm = "bookworm", "make test-hosts";
    trixie = "trixie", "make test-hosts";
    sid = "sid", "make test-hosts";
    without_libgcc = "no-libgcc", "make test-hosts";
    musl_of_bullseye = "musl-bullseye", "make test-hosts";
    musl_of_trixie = "musl-trixie", "make test-hosts";
    musl_of_sid = "musl-sid", "make test-hosts";
}

/// docs/hosts.md has the results of these hosts; EPOLLSHIM_BLESS=1 writes it.
#[test]
#[ignore = "make test-hosts"]
fn the_table_of_hosts_has_their_results() {
    table::is_current();
}
