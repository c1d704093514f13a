//! Renders Markdown pages for a terminal. Headings, paragraphs, lists and tables are wrapped at its
//! width; examples are not.
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
            let title = line.trim_start_matches('#').trim();
            out.push_str(&look.paint(Colour::Heading, &words(title, Look { has_colour: false, ..look }).join(" ")));
            out.push('\n');
        } else if let Some(example) = line.strip_prefix("    ") {
            out.push_str("    ");
            out.push_str(&look.paint(Colour::Code, example));
            out.push('\n');
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

/// Aligns the columns of a table, and wraps the last one.
fn table(rows: &[&str], look: Look, out: &mut String) {
    let cells = |row: &str| -> Vec<String> {
        row.trim().trim_matches('|').split(" | ").map(|cell| words(cell.trim(), look).join(" ")).collect()
    };
    let is_ruler = |row: &&&str| row.chars().all(|letter| matches!(letter, '|' | '-' | ':' | ' '));
    let rows: Vec<Vec<String>> = rows.iter().filter(|row| !is_ruler(row)).map(|row| cells(row)).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| shown(cell)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.saturating_sub(1)).map(widest).collect();
    for row in &rows {
        let mut first = String::from("  ");
        for (cell, width) in row.iter().zip(&widths) {
            first.push_str(cell);
            first.push_str(&" ".repeat(width.saturating_sub(shown(cell)) + 2));
        }
        let further = " ".repeat(shown(&first));
        let last: Vec<String> = row
            .get(columns.saturating_sub(1))
            .map_or_else(Vec::new, |cell| cell.split(' ').map(str::to_owned).collect());
        wrap(&last, &first, &further, look.width, out);
    }
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
            (!inside.is_empty() && !inside.starts_with(' ')).then_some((inside, behind))
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
            out.push((colour, inside.to_owned()));
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

/// `[text](place)`: the text, and what follows.
fn link(text: &str) -> Option<(&str, &str)> {
    let (inside, behind) = text.strip_prefix('[')?.split_once("](")?;
    let (_, behind) = behind.split_once(')')?;
    (!inside.contains(']')).then_some((inside, behind))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::render;
    use epollshim_recording::Look;

    const PAGE: &str = "# ghost: a closed one\n\nA *last* one, `close(fd)`, and `a b`. See [the page](x.md).\nGoes on.\n\n    code  as it is\n\n\
                        | a | b |\n|---|---|\n| `x` | long words that are wrapped at the width |\n\n- one item that is long enough for two lines\n- two\n";

    #[test]
    fn a_page_has_no_marks_left_and_fits_the_width() {
        let look = Look { width: 40, is_terminal: true, has_colour: false };
        assert_eq!(
            render(PAGE, look),
            "ghost: a closed one\n\nA last one, close(fd), and a b. See the\npage. Goes on.\n\n    code  as it is\n\n  \
             a  b\n  x  long words that are wrapped at the\n     width\n\n  - one item that is long enough for two\n    lines\n  - two\n"
        );
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
        assert_eq!(bare, render(PAGE, Look { has_colour: false, ..look }));
    }
}
