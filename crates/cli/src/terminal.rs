//! What stdout and stderr are: a terminal, how wide it is, and whether it is to have colours.

use std::io::IsTerminal;

use epollshim_recording::Look;

/// The narrowest terminal that text is laid out for, and the widest.
const WIDTHS: std::ops::RangeInclusive<usize> = 40..=1000;

/// How text on stdout is laid out. The width of a file and a pipe is that of [`Look::default`].
#[must_use]
pub fn stdout() -> Look {
    look(std::io::stdout().is_terminal())
}

/// The same for stderr.
#[must_use]
pub fn stderr() -> Look {
    look(std::io::stderr().is_terminal())
}

fn look(is_terminal: bool) -> Look {
    if !is_terminal {
        return Look::default();
    }
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let width = crossterm::terminal::size().ok().map(|(width, _)| usize::from(width)).filter(|width| *width != 0);
    let width = width.or(columns).unwrap_or(Look::WIDTH).clamp(*WIDTHS.start(), *WIDTHS.end());
    Look { width, is_terminal: true, has_colour: are_colours_wanted() }
}

/// <https://no-color.org>: set, and not empty. A dumb terminal has none.
#[must_use]
pub fn are_colours_wanted() -> bool {
    let is_off = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !is_off && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb")
}
