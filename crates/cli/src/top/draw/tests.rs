//! What is drawn, on terminals of several sizes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use epollshim_recording::model::Quantiles;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::{Theme, draw};
use crate::top::app::App;
use crate::top::row::{FunctionRates, InstanceRow, Rates, Row};

fn quantiles(p50: u64) -> Option<Quantiles> {
    Some(Quantiles { p50, p90: p50 * 2, p99: p50 * 3, max: p50 * 4 })
}

fn busy() -> Row {
    let function = |name, calls: f64, errors: f64, time| FunctionRates {
        name,
        calls,
        errors,
        all: 123_456,
        by_errno: if errors > 0.0 { vec![("EEXIST".into(), errors)] } else { Vec::new() },
        time,
        ..FunctionRates::default()
    };
    let rates = Rates {
        length: 1_000_000_000,
        calls: 123_456.0,
        waits: 61_000.0,
        events: 1_234_567.0,
        errors: 12.0,
        injected: 3.0,
        events_per_wait: Some(20.2),
        empty: Some(0.031),
        blocked: Some(0.75),
        top_error: Some(("epoll_ctl", "EEXIST".into())),
        wait_time: quantiles(12_000),
        work: quantiles(700),
        batch: quantiles(20),
        functions: vec![
            function("epoll_wait", 61_000.0, 0.0, quantiles(12_000)),
            function("epoll_ctl", 62_456.0, 12.0, None),
        ],
        kinds: vec![("IN", 1_234_567.0), ("OUT", 0.0)],
        ..Rates::default()
    };
    Row {
        key: Arc::new(PathBuf::from("rec/1")),
        pid: 4_194_303,
        name: "redis-server".into(),
        arguments: "redis-server --port 7000".into(),
        age: 3_723_000_000_000,
        instances: 2,
        watches: 10_003,
        threads: 4,
        rates: Some(rates),
        ..Row::default()
    }
}

fn app() -> App {
    let idle = Row { key: Arc::new(PathBuf::from("rec/2")), pid: 77, name: "idle".into(), ..Row::default() };
    let ended = Row {
        key: Arc::new(PathBuf::from("rec/3")),
        pid: 78,
        name: "gone".into(),
        ended: Some("killed"),
        rates: Some(Rates::default()),
        ..Row::default()
    };
    let mut app = App { interval: Duration::from_secs(1), ..App::default() };
    app.show(vec![idle, ended, busy()]);
    app
}

/// The lines drawn on a terminal of this size.
fn drawn(app: &App, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app, Theme::new(true))).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer.cell((x, y)).map_or("", |cell| cell.symbol())).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

fn all(app: &App, width: u16, height: u16) -> String {
    drawn(app, width, height).join("\n")
}

#[test]
fn the_list_on_80_by_24() {
    let wanted = "\
epollshim top  2 running, every 1 s, by calls
    PID CALLS/S WAITS/S EVENTS/S  EV/W EMPTY BLOCK ERR/S INST WATCH BAD PROGRAM
4194303    123k   61.0k    1.23M  20.2  3.1%   75%  12.0    2 10003   0 redis-se
     78       0       0        0     -     -     -     0    0     0   0 gone (ki
     77       -       -        -     -     -     -     -    0     0   0 idle";
    let lines = drawn(&app(), 80, 24);
    assert_eq!(lines[..5].join("\n"), wanted);
    let foot = [
        "4194303 redis-server --port 7000",
        "errors 12.0/s, most epoll_ctl EEXIST; injected 3.00/s, limited 0/s",
        "q quit  Enter open  up/down move  s sort  p pause  +/- interval  ? help",
    ];
    assert_eq!(lines[21..], foot);
}

#[test]
fn the_list_on_120_by_40_says_more() {
    let lines = drawn(&app(), 120, 40);
    for title in ["P99 WAIT", "P99 WORK", "INJ/S", "LIM/S"] {
        assert!(lines[1].contains(title), "{}", lines[1]);
    }
    assert!(lines[2].contains("36.0 us  2.10 us  12.0  3.00     0"), "{}", lines[2]);
    assert!(lines[2].ends_with("redis-server --por"), "{}", lines[2]);
    let wide = drawn(&app(), 200, 40);
    assert!(wide[2].contains("epoll_ctl EEXIST") && wide[2].ends_with("redis-server --port 7000"), "{}", wide[2]);
}

#[test]
fn a_process_with_its_calls_and_instances_on_80_by_24() {
    let mut app = app();
    app.detail = Some(busy().key);
    app.show_instances(vec![
        InstanceRow {
            id: 1,
            epfd: 5,
            watches: 10_000,
            waits: Some(60_000.0),
            events: Some(1e6),
            empty: Some(0.5),
            made_by: "epoll_create(1024)".into(),
            site: 0x1234,
        },
        InstanceRow {
            id: 2,
            epfd: 9,
            watches: 3,
            made_by: "epoll_create1(EPOLL_CLOEXEC)".into(),
            ..InstanceRow::default()
        },
    ]);
    app.names.insert((busy().key, 0x1234), "aeApiCreate (src/ae_epoll.c:43)".into());
    let wanted = "\
epollshim top  2 running, every 1 s, by calls
4194303 redis-server --port 7000
1h02m old, 4 threads, 2 instances, 10003 watches; blocked 75% of the time
123k calls/s, 61.0k waits/s, 3.1% empty; 1.23M events/s, 20.2 per wait: IN 1.23M
CALL              /S      P50      P99      MAX FAILED/S INJ/S LIM/S ERRORS
epoll_wait     61.0k  12.0 us  36.0 us  48.0 us        0     0     0
epoll_ctl      62.5k        -        -        -     12.0     0     0 EEXIST 12.0
work between           700 ns  2.10 us  2.80 us
events/batch               20       60       80

   #    FD  WATCH WAITS/S EVENTS/S EMPTY INSTANCE
   1     5  10000   60.0k    1.00M   50% epoll_create(1024) at aeApiCreate (src/
   2     9      3       -        -     - epoll_create1(EPOLL_CLOEXEC)";
    assert_eq!(drawn(&app, 80, 24)[..13].join("\n"), wanted);
    assert!(all(&app, 120, 40).contains("at aeApiCreate (src/ae_epoll.c:43)"));
}

#[test]
fn help_fits_80_by_24() {
    let mut app = app();
    app.has_help = true;
    let text = all(&app, 80, 24);
    assert!(text.contains("q      quit") && text.contains("any key closes this"), "{text}");
    assert!(text.contains("└"), "{text}");
}

#[test]
fn where_nothing_runs_it_is_said_how_to_make_a_recording() {
    let nothing = ["no program runs with a recording".into(), "create one: epollshim run --record DIR -- CMD".into()];
    let app = App { nothing, interval: Duration::from_millis(500), ..App::default() };
    let text = all(&app, 80, 24);
    assert!(text.contains("every 0.5 s") && text.contains("epollshim run --record DIR -- CMD"), "{text}");
}

#[test]
fn no_size_of_a_terminal_is_too_small_or_too_large() {
    for detail in [None, Some(busy().key)] {
        let mut app = app();
        app.detail = detail;
        app.instances = vec![InstanceRow::default(); 3];
        for has_help in [false, true] {
            app.has_help = has_help;
            for (width, height) in [(1, 1), (2, 40), (200, 1), (10, 3), (40, 12), (79, 5), (500, 200)] {
                drawn(&app, width, height);
            }
        }
    }
}

#[test]
fn no_colour_is_used_where_none_is_wanted() {
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| draw(frame, &app(), Theme::new(false))).unwrap();
    assert!(
        terminal.backend().buffer().content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset)
    );
    terminal.draw(|frame| draw(frame, &app(), Theme::new(true))).unwrap();
    assert!(terminal.backend().buffer().content().iter().any(|cell| cell.fg != Color::Reset));
}

#[test]
fn a_cursor_below_the_last_line_is_scrolled_to() {
    let mut app = App { interval: Duration::from_secs(1), ..App::default() };
    let row = |pid: u32| Row { key: Arc::new(PathBuf::from(pid.to_string())), pid, ..Row::default() };
    app.show((1..100).map(row).collect());
    app.selected = app.rows.last().map(|row| row.key.clone());
    let lines = drawn(&app, 80, 24);
    assert!(lines[20].starts_with("     99 "), "{}", lines.join("\n"));
}
