//! `--at SITE`: selects points by a place on their call stacks.

use super::points::Point;

/// Whether a place is on the stack of a point: `OBJECT+OFFSET` as in the log of faults,
/// `FILE:LINE`, or the name of a function. `frames` is the stack with names.
pub fn is_on_stack(site: &str, point: &Point, frames: &[String]) -> bool {
    point.frames.iter().any(|frame| is_address(site, frame))
        || frames.iter().any(|frame| is_function(site, frame) || is_line(site, frame))
}

/// Matches `app+0x11f2` and `app+11f2`.
fn is_address(site: &str, frame: &str) -> bool {
    let halves = |text: &str| -> Option<(String, u64)> {
        let (object, offset) = text.rsplit_once('+')?;
        let offset = u64::from_str_radix(offset.trim_start_matches("0x"), 16).ok()?;
        Some((object.to_owned(), offset))
    };
    halves(site).is_some_and(|site| halves(frame) == Some(site))
}

/// Matches `make (src/loop.c:80)`, `uv_run+0x9f`, and C++ functions with their arguments.
fn is_function(site: &str, frame: &str) -> bool {
    let name = frame.rsplit_once(" (").map_or(frame, |(name, _)| name);
    let name = name.rsplit_once("+0x").map_or(name, |(name, _)| name);
    name == site || name.split_once('(').is_some_and(|(name, _)| name == site)
}

/// Matches `loop.c:80` and `src/loop.c:80` with `make (src/loop.c:80)`.
fn is_line(site: &str, frame: &str) -> bool {
    let Some(line) = frame.rsplit_once(" (").and_then(|(_, line)| line.strip_suffix(')')) else { return false };
    site.contains(':') && line.strip_suffix(site).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::is_on_stack;
    use crate::sweep::points::Point;

    #[test]
    fn a_place_is_an_address_a_function_or_a_line() {
        let point = Point { frames: vec!["app+0x11f2".into(), "libuv.so.1+0x2e40".into()], ..Point::default() };
        let frames = ["make (src/loop.c:80)", "uv_run+0x9f", "ns::serve(int, char) (x.cc:3)"].map(str::to_owned);
        for site in ["app+11f2", "app+0x11f2", "libuv.so.1+0x2e40", "make", "loop.c:80", "src/loop.c:80", "uv_run"] {
            assert!(is_on_stack(site, &point, &frames), "{site}");
        }
        assert!(is_on_stack("ns::serve", &point, &frames) && is_on_stack("x.cc:3", &point, &frames));
        for site in ["app+11f3", "other+11f2", "mak", "oop.c:80", "loop.c:8", "loop.c", "serve", ""] {
            assert!(!is_on_stack(site, &point, &frames), "{site}");
        }
    }
}
