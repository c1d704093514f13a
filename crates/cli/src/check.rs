//! `epollshim check`: predicts what the shim will see of a program.
//!
//! ```text
//! facts       gathers facts: the file, its libraries, or what a process has mapped
//! libraries   finds the libraries that a file needs, as ld.so does
//! calls       which imports of a file concern the shim
//! code        finds system call instructions in a file
//! process     reads the instances, interests and descriptors of a process
//! verdict     judges the facts, without side effects
//! page, json  print the result
//! ```

use crate::args::{Check, Format};
use crate::{Failure, print};

pub mod calls;
pub mod code;
pub mod facts;
mod json;
mod libraries;
mod page;
pub mod process;
pub mod verdict;

use verdict::Seen;

/// Prints the verdict, and returns the exit status.
pub fn check(asked: &Check) -> Result<i32, Failure> {
    let facts = facts::gather(&asked.subject)?;
    let verdict = verdict::judge(&facts);
    print(&match asked.format {
        Format::Text => page::page(&facts, &verdict),
        Format::Json => json::object(&facts, &verdict)?,
    })?;
    Ok(if verdict.seen == Seen::All { 0 } else { 1 })
}
