//! What the comparison with the kernel showed, and what could not be compared.

use core::fmt::{self, Write};

use epollshim_format::scale::Grouped;

use crate::report::facts::Facts;
use crate::seccomp;

pub(super) fn coverage(facts: &Facts, out: &mut impl Write) -> fmt::Result {
    let totals = &facts.ledger.totals;
    let uncounted = crate::thread::uncounted();
    let rows = [
        ("instances created or inherited unseen", totals.unseen_instances.get()),
        ("watches changed unseen", totals.unseen_watches.get()),
        ("wrong records repaired", totals.healed.get()),
        ("changes not noted", totals.lost.get()),
        ("calls not counted (no memory)", uncounted),
    ];
    let clean = rows.iter().all(|(_, count)| *count == 0);
    match (facts.reconciled, clean) {
        (true, true) => writeln!(out, "\nCoverage: complete; the kernel's lists agree")?,
        (true, false) => writeln!(out, "\nCoverage: corrected from the kernel's lists, which showed:")?,
        (false, _) if facts.uncompared != 0 => writeln!(
            out,
            "\nCoverage: NOT fully compared with the kernel: kcmp(2) is refused or missing.\n  {} epoll descriptors may be \
             one instance or several.\n  If a seccomp filter refuses it, allow kcmp.",
            facts.uncompared
        )?,
        (false, _) => {
            let why = if seccomp::left_out().next().is_some() { "seccomp" } else { "no /proc, or busy threads" };
            writeln!(out, "\nCoverage: NOT compared with the kernel's lists ({why})")?
        }
    }
    for (what, count) in rows.iter().filter(|(_, count)| *count != 0) {
        writeln!(out, "  {what}: {}", Grouped(*count))?;
    }
    let not_judged = crate::census::not_judged();
    if not_judged != 0 {
        writeln!(out, "  programs started with unknown file actions (inheritance not checked): {not_judged}")?;
    }
    forbidden(out)
}

/// The system calls that the program's filters do not allow the report.
fn forbidden(out: &mut impl Write) -> fmt::Result {
    const WIDTH: usize = 78;
    let mut names = seccomp::left_out().peekable();
    if names.peek().is_none() {
        return Ok(());
    }
    write!(out, "  The program's seccomp filter forbids system calls that the report needs:\n   ")?;
    let mut column = 3;
    while let Some(name) = names.next() {
        let comma = if names.peek().is_some() { "," } else { "" };
        let width = 1 + name.len() + comma.len();
        if column + width > WIDTH {
            write!(out, "\n   ")?;
            column = 3;
        }
        write!(out, " {name}{comma}")?;
        column += width;
    }
    writeln!(out)
}
