//! Renders Markdown pages as plain text, for a terminal, a file or a pipe. Paragraphs, lists and
//! tables are wrapped at the width; examples are not.
//!
//! Only the syntax that the pages of docs/findings use is supported: `#` headings, paragraphs, `-`
//! lists, tables, examples indented by four spaces, and inside text `code`, **bold**, *emphasis*
//! and links.

use epollshim_recording::{Colour, Look};

/// Renders a page, with colours if `look` has them.
#[must_use]
pub fn render(page: &str, look: Look) -> String {
    let mut out = String::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim().is_empty() {
            if !out.is_empty() && !out.ends_with("\n\n") {
                out.push('\n');
            }
        } else if line.starts_with('#') {
            heading(line, look, &mut out);
        } else if is_example(line) {
            let mut example = vec![line];
            while let Some(line) = lines.next_if(|line| line.is_empty() || is_example(line)) {
                example.push(line);
            }
            let blank = example.iter().rev().take_while(|line| line.is_empty()).count();
            example.truncate(example.len() - blank);
            code(&example, look, &mut out);
            out.extend((blank > 0).then_some('\n'));
        } else if line.starts_with('|') {
            let mut rows = vec![line];
            while let Some(row) = lines.next_if(|row| row.starts_with('|')) {
                rows.push(row);
            }
            table(&rows, look, &mut out);
        } else {
            let (first, further, text) = match line.strip_prefix("- ") {
                Some(item) => ("  - ", "    ", item),
                None => ("", "", line),
            };
            let mut text = text.to_owned();
            while let Some(more) = lines.next_if(|next| goes_on(next)) {
                text.push(' ');
                text.push_str(more.trim());
            }
            wrap(&words(&text, look), first, further, look.width, &mut out);
        }
    }
    out
}

/// Whether a line continues the paragraph or list item before it.
fn goes_on(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with(['#', '|']) && !line.starts_with("- ") && !line.starts_with("    ")
}

fn is_example(line: &str) -> bool {
    line.starts_with("    ")
}

/// A heading. Without colours it is underlined.
fn heading(line: &str, look: Look, out: &mut String) {
    let title = words(line.trim_start_matches('#').trim(), Look { has_colour: false, ..look }).join(" ");
    out.push_str(&look.paint(Colour::Heading, &title));
    out.push('\n');
    if !look.has_colour {
        let mark = if line.starts_with("##") { "-" } else { "=" };
        out.push_str(&mark.repeat(shown(&title)));
        out.push('\n');
    }
}

/// An example. It is indented by four, or less if the width does not allow it: reports have 80
/// columns of their own.
fn code(lines: &[&str], look: Look, out: &mut String) {
    let lines = lines.iter().map(|line| line.strip_prefix("    ").unwrap_or(line));
    let widest = lines.clone().map(shown).max().unwrap_or(0);
    let indent = " ".repeat(look.width.saturating_sub(widest).min(4));
    for line in lines {
        if !line.is_empty() {
            out.push_str(&indent);
            out.push_str(&look.paint(Colour::Code, line));
        }
        out.push('\n');
    }
}

/// The narrowest column that a table may get.
const NARROW: usize = 8;

/// Aligns the columns of a table, and wraps the cells of those that are too wide.
fn table(rows: &[&str], look: Look, out: &mut String) {
    let cells = |row: &str| -> Vec<String> {
        row.trim().trim_matches('|').split(" | ").map(|cell| words(cell.trim(), look).join(" ")).collect()
    };
    let is_ruler = |row: &&&str| row.chars().all(|letter| matches!(letter, '|' | '-' | ':' | ' '));
    let rows: Vec<Vec<String>> = rows.iter().filter(|row| !is_ruler(row)).map(|row| cells(row)).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| shown(cell)).max().unwrap_or(0);
    let mut widths: Vec<usize> = (0..columns).map(widest).collect();
    // Two spaces stand before each column. The widest ones give up what is too much.
    while widths.iter().sum::<usize>() + 2 * columns > look.width {
        let Some(most) = widths.iter_mut().max().filter(|most| **most > NARROW) else { break };
        *most -= 1;
    }
    for row in &rows {
        let wrapped: Vec<Vec<String>> = row.iter().zip(&widths).map(|(cell, width)| in_lines(cell, *width)).collect();
        for number in 0..wrapped.iter().map(Vec::len).max().unwrap_or(0) {
            let mut line = String::new();
            for (cell, width) in wrapped.iter().zip(&widths) {
                let part = cell.get(number).map_or("", String::as_str);
                line.push_str("  ");
                line.push_str(part);
                line.push_str(&" ".repeat(width.saturating_sub(shown(part))));
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
}

/// A cell as lines of the given width.
fn in_lines(cell: &str, width: usize) -> Vec<String> {
    let words: Vec<String> = cell.split(' ').map(str::to_owned).collect();
    let mut text = String::new();
    wrap(&words, "", "", width, &mut text);
    text.lines().map(str::to_owned).collect()
}

/// Fills lines with words up to the given width.
fn wrap(words: &[String], first: &str, further: &str, width: usize, out: &mut String) {
    let (mut line, mut columns, mut is_empty) = (first.to_owned(), shown(first), true);
    for word in words {
        if !is_empty && columns + 1 + shown(word) > width {
            out.push_str(line.trim_end());
            out.push('\n');
            (line, columns, is_empty) = (further.to_owned(), shown(further), true);
        }
        if !is_empty {
            line.push(' ');
            columns += 1;
        }
        line.push_str(word);
        columns += shown(word);
        is_empty = false;
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

/// The number of columns that a text takes, without colour sequences.
fn shown(text: &str) -> usize {
    let mut columns = 0;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            letters.by_ref().find(|letter| *letter == 'm');
        } else {
            columns += 1;
        }
    }
    columns
}

/// The words of a text. Code and emphasised text are painted word by word, so that lines can break
/// inside them.
fn words(text: &str, look: Look) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut glue = false;
    for (colour, piece) in pieces(text) {
        let paint = |word: &str| colour.map_or_else(|| word.to_owned(), |colour| look.paint(colour, word));
        for (place, word) in piece.split(' ').enumerate() {
            // Without a space between two pieces, the first word of the second is appended to the
            // last word of the first.
            match out.last_mut() {
                Some(last) if place == 0 && glue => last.push_str(&paint(word)),
                _ if word.is_empty() => {}
                _ => out.push(paint(word)),
            }
        }
        glue = !piece.ends_with(' ') && !piece.is_empty();
    }
    out
}

/// Splits a text into pieces. Code and emphasised text have a colour, and their marks are removed.
fn pieces(text: &str) -> Vec<(Option<Colour>, String)> {
    let mut out = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let marked = |mark: &str| {
            let (inside, behind) = rest.strip_prefix(mark)?.split_once(mark)?;
            (!inside.is_empty() && !inside.starts_with(' ')).then(|| (inside.to_owned(), behind))
        };
        let found = if letter == '`' {
            marked("`").map(|(inside, behind)| (Some(Colour::Code), inside, behind))
        } else if rest.starts_with("**") {
            marked("**").map(|(inside, behind)| (Some(Colour::Heading), inside, behind))
        } else if letter == '*' {
            marked("*").map(|(inside, behind)| (Some(Colour::Heading), inside, behind))
        } else {
            link(rest).map(|(inside, behind)| (None, inside, behind))
        };
        if let Some((colour, inside, behind)) = found {
            out.push((None, std::mem::take(&mut plain)));
            out.push((colour, inside));
            rest = behind;
        } else {
            plain.push(letter);
            rest = rest.get(letter.len_utf8()..).unwrap_or_default();
        }
    }
    out.push((None, plain));
    out.retain(|(_, piece)| !piece.is_empty());
    out
}

/// `[text](place)`: the text, and what follows. A page outside of docs/findings is named, since its
/// text is no id for `epollshim explain`.
fn link(text: &str) -> Option<(String, &str)> {
    let (inside, behind) = text.strip_prefix('[')?.split_once("](")?;
    let (place, behind) = behind.split_once(')')?;
    let text = match place.strip_prefix("../") {
        Some(page) => format!("{} (docs/{page})", inside.trim_matches('`')),
        None => inside.trim_matches('`').to_owned(),
    };
    (!inside.contains(']')).then_some((text, behind))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::render;
    use epollshim_recording::Look;

    const PAGE: &str = "# ghost: a closed one\n\nA *last* one, `close(fd)`, and `a b`. See [the page](x.md).\nGoes on. [`more`](../more.md).\n\n\
                        ## Code\n\n    code  as it is\n\n      more\n\n    nearly as wide as the terminal is: 40\n\n\
                        | a | b | c |\n|---|---|---|\n| `x` | long words that are wrapped at the width | c |\n\n\
                        - one item that is long enough for two lines\n- two\n";

    #[test]
    fn a_page_has_no_marks_left_and_fits_the_width() {
        let look = Look { width: 40, is_terminal: true, has_colour: false };
        let expected = "\
ghost: a closed one
===================

A last one, close(fd), and a b. See the
page. Goes on. more (docs/more.md).

Code
----

   code  as it is

     more

   nearly as wide as the terminal is: 40

  a  b                                 c
  x  long words that are wrapped at    c
     the width

  - one item that is long enough for two
    lines
  - two
";
        assert_eq!(render(PAGE, look), expected);
    }

    #[test]
    fn colours_take_no_columns() {
        let look = Look { width: 40, is_terminal: true, has_colour: true };
        let page = render(PAGE, look);
        assert!(page.starts_with("\u{1b}[1mghost: a closed one\u{1b}[0m\n"), "{page:?}");
        assert!(page.contains("\u{1b}[36mclose(fd)\u{1b}[0m, and"), "{page:?}");
        let mut bare = String::new();
        for (place, part) in page.split('\u{1b}').enumerate() {
            bare.push_str(if place == 0 { part } else { part.split_once('m').unwrap().1 });
        }
        // Without colours, headings are underlined.
        let plain = render(PAGE, Look { has_colour: false, ..look });
        let is_text = |line: &&str| line.is_empty() || line.bytes().any(|byte| !matches!(byte, b'=' | b'-'));
        assert_eq!(bare.lines().collect::<Vec<_>>(), plain.lines().filter(is_text).collect::<Vec<_>>());
    }
}
