//! Lines of text, wrapped at a width.

use std::sync::Arc;

use crate::look::{Colour, Look};
use crate::scale::grouped;
use crate::sites::Site;

/// The text under construction.
pub(super) struct Page {
    pub(super) text: String,
    pub(super) look: Look,
}

impl Page {
    pub(super) fn new(look: Look) -> Page {
        Page { text: String::new(), look }
    }

    pub(super) fn gap(&mut self) {
        self.text.push('\n');
    }

    /// Adds a line. Long lines are left to the terminal to wrap.
    pub(super) fn line(&mut self, line: String) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// Adds a place, the functions that it was inlined into, and its callers.
    pub(super) fn frames(&mut self, before: &str, site: &Site, stack: &[Arc<Site>]) {
        let indent = before.len() - before.trim_start().len();
        let mut frames = site.frames();
        self.line(format!("{before}{}", frames.next().unwrap_or_default()));
        for frame in frames.chain(stack.iter().skip(1).flat_map(|caller| caller.frames())) {
            self.line(format!("{:indent$}by {frame}", ""));
        }
    }

    pub(super) fn trouble(&mut self, line: String) {
        self.line(self.look.paint(Colour::Trouble, &line));
    }

    pub(super) fn more(&mut self, more: usize) {
        if more > 0 {
            self.line(format!("  and {} more (--format json lists all)", grouped(more as u64)));
        }
    }

    /// Adds words, as many to a line as fit. Lines after the first are indented by two more
    /// columns.
    pub(super) fn wrapped(&mut self, indent: &str, words: &str) {
        self.hanging(indent, &format!("{indent}  "), words);
    }

    pub(super) fn hanging(&mut self, indent: &str, further: &str, words: &str) {
        let width = self.look.width.max(Look::WIDTH / 2);
        let mut line = indent.to_owned();
        for word in words.split(' ').filter(|word| !word.is_empty()) {
            if line.chars().count() + 1 + word.chars().count() > width && line.trim() != "" {
                self.line(std::mem::replace(&mut line, further.to_owned()));
            }
            if line.trim() != "" {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(line);
    }
}
