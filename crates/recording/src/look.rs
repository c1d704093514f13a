//! The layout of text: its width and its colours.

use anstyle::{AnsiColor, Style};
use epollshim_format::findings::Severity;

/// Where text is written to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    /// The column at which sentences are wrapped.
    pub width: usize,
    /// Long lists of words end with an ellipsis on a terminal. Elsewhere they are complete.
    pub is_terminal: bool,
    pub has_colour: bool,
}

/// The look for a file or a pipe.
impl Default for Look {
    fn default() -> Look {
        Look { width: Look::WIDTH, is_terminal: false, has_colour: false }
    }
}

/// The role of a word, which decides its colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Colour {
    Heading,
    Error,
    Warning,
    Info,
    /// Something is missing.
    Trouble,
    Code,
}

impl Colour {
    #[must_use]
    pub const fn of(severity: Severity) -> Colour {
        match severity {
            Severity::Error => Colour::Error,
            Severity::Warning => Colour::Warning,
            Severity::Info => Colour::Info,
        }
    }

    /// Colours of the terminal's own palette, so that they suit its background.
    const fn style(self) -> Style {
        match self {
            Colour::Heading => Style::new().bold(),
            Colour::Error => AnsiColor::Red.on_default().bold(),
            Colour::Warning | Colour::Trouble => AnsiColor::Yellow.on_default().bold(),
            Colour::Info => AnsiColor::Blue.on_default(),
            Colour::Code => AnsiColor::Cyan.on_default(),
        }
    }
}

impl Look {
    /// The width if no terminal reports one.
    pub const WIDTH: usize = 80;

    /// Text with its colour, if colours are wanted.
    #[must_use]
    pub fn paint(self, colour: Colour, text: &str) -> String {
        if !self.has_colour {
            return text.to_owned();
        }
        let style = colour.style();
        format!("{style}{text}{style:#}")
    }
}

#[cfg(test)]
mod tests {
    use super::{Colour, Look};

    #[test]
    fn a_file_has_no_colours() {
        assert_eq!(Look::default().paint(Colour::Error, "error"), "error");
        let look = Look { has_colour: true, ..Look::default() };
        assert_eq!(look.paint(Colour::Heading, "a"), "\u{1b}[1ma\u{1b}[0m");
    }
}
