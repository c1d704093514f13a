//! Draws the list of processes, the help, and the lines around them. The module `detail` draws a
//! process.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row as Cells, Table, TableState};

use super::app::App;
use super::columns::{Column, rate};
use super::detail;
use super::row::Row;

/// How text is highlighted. Without colours (<https://no-color.org>) only bold, dim and reverse are
/// used.
#[derive(Clone, Copy)]
pub struct Theme {
    has_colour: bool,
}

impl Theme {
    pub fn of_environment() -> Theme {
        Theme::new(crate::terminal::are_colours_wanted())
    }

    pub const fn new(has_colour: bool) -> Theme {
        Theme { has_colour }
    }

    fn colour(self, colour: Color) -> Style {
        if self.has_colour { Style::new().fg(colour) } else { Style::new() }
    }

    pub fn title(self) -> Style {
        self.colour(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    pub fn sorted(self) -> Style {
        self.title().add_modifier(Modifier::UNDERLINED)
    }

    pub fn bad(self) -> Style {
        self.colour(Color::Red)
    }

    pub fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn cursor(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}

pub fn draw(frame: &mut Frame, app: &App, theme: Theme) {
    let [head, body, foot, keys] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(2), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(Paragraph::new(heading(app, theme)), head);
    match app.detail() {
        Some(row) => {
            // The lines at the bottom belong to the list only.
            let body = Rect { height: body.height + foot.height, ..body };
            detail::draw(frame, body, app, row, theme);
        }
        None if app.rows.is_empty() => empty(frame, body, app),
        None => {
            list(frame, body, app, theme);
            frame.render_widget(Paragraph::new(selected(app, theme)), foot);
        }
    }
    let help = match app.detail {
        Some(_) => "q quit  Esc back  up/down scroll  p pause  space read  +/- interval  ? help",
        None => "q quit  Enter open  up/down move  s sort  p pause  +/- interval  ? help",
    };
    frame.render_widget(Paragraph::new(help).style(theme.faint()), keys);
    if app.has_help {
        help_page(frame);
    }
}

fn heading(app: &App, theme: Theme) -> Line<'static> {
    let running = app.rows.iter().filter(|row| row.ended.is_none()).count();
    let seconds = app.interval.as_secs_f64();
    let mut words = vec![
        Span::styled("epollshim top", Style::new().add_modifier(Modifier::BOLD)),
        format!("  {running} running, every {seconds} s, by {}", app.sort().facts().name).into(),
    ];
    if app.is_paused {
        words.push(Span::styled("  PAUSED", Style::new().add_modifier(Modifier::BOLD)));
    }
    if let Some(trouble) = &app.trouble {
        words.push(Span::styled(format!("  {trouble}"), theme.bad()));
    }
    Line::from(words)
}

fn empty(frame: &mut Frame, body: Rect, app: &App) {
    let [what, how] = &app.nothing;
    let lines = vec![Line::from(""), Line::from(what.as_str()), Line::from(how.as_str())];
    frame.render_widget(Paragraph::new(lines).alignment(Alignment::Center), body);
}

/// The columns that fit: those that are always shown, and others by rank.
fn columns(width: u16) -> Vec<Column> {
    let mut shown: Vec<Column> = Column::ALL.into_iter().filter(|column| column.facts().rank == 0).collect();
    let mut others: Vec<Column> = Column::ALL.into_iter().filter(|column| column.facts().rank != 0).collect();
    others.sort_by_key(|column| column.facts().rank);
    let mut used: u16 = shown.iter().map(|column| column.facts().width + 1).sum();
    for column in others {
        // Leaves space for the name of the program.
        let more = column.facts().width + 1;
        if used + more + 8 > width {
            break;
        }
        used += more;
        shown.push(column);
    }
    Column::ALL.into_iter().filter(|column| shown.contains(column)).collect()
}

fn list(frame: &mut Frame, body: Rect, app: &App, theme: Theme) {
    let columns = columns(body.width);
    let titles = columns.iter().map(|column| {
        let style = if *column == app.sort() { theme.sorted() } else { theme.title() };
        cell(*column, column.facts().title.to_owned()).style(style)
    });
    let rows = app.rows.iter().map(|row| {
        let cells = columns.iter().map(|column| {
            let is_bad = *column == Column::Errors && row.rates.as_ref().is_some_and(|rates| rates.errors > 0.0);
            let cell = cell(*column, text(*column, row));
            if is_bad { cell.style(theme.bad()) } else { cell }
        });
        let style = if row.ended.is_some() { theme.faint() } else { Style::new() };
        Cells::new(cells.collect::<Vec<_>>()).style(style)
    });
    let widths = columns.iter().map(|column| match column {
        Column::Program => Constraint::Min(column.facts().width),
        _ => Constraint::Length(column.facts().width),
    });
    let table = Table::new(rows, widths).header(Cells::new(titles)).row_highlight_style(theme.cursor());
    frame.render_stateful_widget(table, body, &mut TableState::new().with_selected(app.place()));
}

fn cell(column: Column, text: String) -> Cell<'static> {
    let alignment = if column.is_text() { Alignment::Left } else { Alignment::Right };
    Cell::from(Line::from(text).alignment(alignment))
}

/// The text of a cell. The program is shown with its arguments if there is space.
fn text(column: Column, row: &Row) -> String {
    let text = column.short(row);
    let arguments = row.arguments.split_once(' ').map_or("", |(_, arguments)| arguments);
    if column == Column::Program && row.ended.is_none() && !arguments.is_empty() {
        return format!("{text} {arguments}");
    }
    text
}

/// Two lines on the process under the cursor, with what does not fit into its row.
fn selected(app: &App, theme: Theme) -> Vec<Line<'static>> {
    let Some(row) = app.place().and_then(|place| app.rows.get(place)) else { return Vec::new() };
    let mut first = format!("{} {}", row.pid, if row.arguments.is_empty() { &row.name } else { &row.arguments });
    if row.is_partial {
        first.push_str(" (its recording is incomplete)");
    }
    let mut second = Vec::new();
    if let Some(how) = row.ended {
        second.push(Span::raw(format!("ended: {how}  ")));
    }
    if let Some(rates) = &row.rates {
        if let Some((function, error)) = &rates.top_error {
            let all = rate(rates.errors);
            second.push(Span::styled(format!("errors {all}/s, most {function} {error}"), theme.bad()));
        } else {
            second.push(Span::raw("no errors"));
        }
        if rates.injected > 0.0 || rates.limited > 0.0 {
            let (injected, limited) = (rate(rates.injected), rate(rates.limited));
            second.push(Span::raw(format!("; injected {injected}/s, limited {limited}/s")));
        }
    }
    vec![Line::from(first).style(theme.faint()), Line::from(second)]
}

const HELP: &str = "\
 CALLS/S   epoll calls per second     EV/W   events per wait
 WAITS/S   waits per second           EMPTY  share of empty waits
 EVENTS/S  events per second          ERR/S  failed calls per second
 BLOCK     share of time in waits     MOST   most frequent error
 P99 WAIT, P99 WORK: 99 % of waits, and of times between waits,
           are not longer
 INST      live instances             INJ/S  calls with a fault
 WATCH     live watches               LIM/S  calls that a limit refused

 arrows PgUp PgDn Home End  move      Enter  open a process
 s  S  sort by next, previous column  Esc    back
 p     pause or continue              space  read now
 +  -  longer, shorter interval       q      quit     Ctrl-Z  stop";

fn help_page(frame: &mut Frame) {
    let area = frame.area();
    let (width, height) = (72.min(area.width), 15.min(area.height));
    let inside = Rect { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height };
    frame.render_widget(Clear, inside);
    frame.render_widget(Paragraph::new(HELP).block(Block::bordered().title(" any key closes this ")), inside);
}

#[cfg(test)]
mod tests;
