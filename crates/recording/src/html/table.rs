//! Tables that the reader sorts by clicking a column.

use std::fmt::Write as _;

use super::escaped;
use crate::scale::count;

pub struct Table {
    title: &'static str,
    columns: &'static [&'static str],
    note: &'static str,
    rows: Vec<Vec<Cell>>,
    left_out: usize,
}

/// The content of a cell, and for numbers the value to sort by.
pub struct Cell {
    shown: String,
    number: Option<u64>,
    code: bool,
}

impl Cell {
    pub fn text(text: &str) -> Cell {
        Cell { shown: escaped(text), number: None, code: false }
    }

    pub fn code(text: &str) -> Cell {
        Cell { code: !text.is_empty(), ..Cell::text(text) }
    }

    pub fn number(value: u64, shown: fn(u64) -> String) -> Cell {
        Cell { shown: shown(value), number: Some(value), code: false }
    }

    /// A number that is a name, such as a pid: without grouping.
    pub fn bare(value: u64) -> Cell {
        Cell::number(value, |value| value.to_string())
    }

    /// A call site, and its callers below it.
    pub fn place(site: &str, callers: &[String]) -> Cell {
        let mut shown = format!("<code>{}</code>", escaped(site));
        for caller in callers {
            let _ = write!(shown, "<br>by <code>{}</code>", escaped(caller));
        }
        Cell { shown, number: None, code: false }
    }

    /// An unknown number, which sorts as 0.
    pub fn none() -> Cell {
        Cell { shown: String::new(), number: Some(0), code: false }
    }
}

impl Table {
    pub fn new(title: &'static str, columns: &'static [&'static str], note: &'static str) -> Table {
        Table { title, columns, note, rows: Vec::new(), left_out: 0 }
    }

    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    pub fn left_out(&mut self, rows: usize) {
        self.left_out = rows;
    }

    pub fn render(&self) -> String {
        let mut page = String::new();
        if self.rows.is_empty() {
            return page;
        }
        let _ = write!(page, "<section>\n<h2>{}</h2>\n", self.title);
        if !self.note.is_empty() {
            let _ = writeln!(page, "<p class=\"quiet\">{}</p>", self.note);
        }
        page.push_str("<div class=\"wide\"><table>\n<thead><tr>");
        let numeric =
            |index: usize| self.rows.first().and_then(|row| row.get(index)).is_some_and(|cell| cell.number.is_some());
        for (index, column) in self.columns.iter().enumerate() {
            let class = if numeric(index) { " class=\"n\"" } else { "" };
            let _ = write!(page, "<th scope=\"col\"{class}><button type=\"button\">{column}</button></th>");
        }
        page.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            page.push_str("<tr>");
            for cell in row {
                let shown = &cell.shown;
                let _ = match (cell.number, cell.code) {
                    (Some(number), _) => write!(page, "<td class=\"n\" data-v=\"{number}\">{shown}</td>"),
                    (None, true) => write!(page, "<td><code>{shown}</code></td>"),
                    (None, false) => write!(page, "<td>{shown}</td>"),
                };
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</tbody></table></div>\n");
        if self.left_out > 0 {
            let more = count(self.left_out as u64, "more row is", "more rows are");
            let _ = writeln!(page, "<p class=\"quiet\">{more} in the report of --format json.</p>");
        }
        page.push_str("</section>\n");
        page
    }
}
