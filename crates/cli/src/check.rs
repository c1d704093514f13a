//! `epollshim check`: what the shim will see of a program, and what not.
//!
//! ```text
//! facts       gathers: the file, its libraries or what a process has mapped
//! libraries   finds the libraries that a file needs, as ld.so does
//! calls       which of a file's imports concern the shim
//! code        system call instructions in its own text
//! process     of a process: its instances, interests, descriptors
//! verdict     judges the facts; pure
//! page, json  tell them
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

/// The exit status.
pub fn check(asked: &Check) -> Result<i32, Failure> {
    let facts = facts::gather(&asked.subject)?;
    let verdict = verdict::judge(&facts);
    print(&match asked.format {
        Format::Text => page::page(&facts, &verdict),
        Format::Json => json::object(&facts, &verdict)?,
    })?;
    Ok(if verdict.seen == Seen::All { 0 } else { 1 })
}
