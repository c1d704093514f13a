//! Properties of stdout and stderr: whether they are terminals, how wide, and whether colours are
//! wanted.

use std::io::IsTerminal;

use epollshim_recording::Look;

/// The widths for which text is laid out. Narrower and wider terminals are treated as these.
const WIDTHS: std::ops::RangeInclusive<usize> = 40..=1000;

/// The layout of text on stdout. For files and pipes the width is that of [`Look::default`].
#[must_use]
pub fn stdout() -> Look {
    look(std::io::stdout().is_terminal())
}

/// The layout of text on stderr.
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

/// Colours are off if NO_COLOR is set to a non-empty value (<https://no-color.org>), or if TERM is
/// `dumb`.
#[must_use]
pub fn are_colours_wanted() -> bool {
    let is_off = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !is_off && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb")
}
