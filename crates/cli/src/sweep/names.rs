//! Names the functions on the call stacks of points.

use std::collections::BTreeMap;
use std::path::PathBuf;

use epollshim_recording::{Options, Places, Site, load_all};

use super::points::Point;

/// At most this many frames of a stack are shown.
const MOST: usize = 4;
/// Functions that start programs and threads. They do not identify a place.
const OF_LIBC: [&str; 6] =
    ["__libc_start_call_main", "__libc_start_main", "_start", "start_thread", "clone3", "__clone3"];

/// The frames of each stack, by its hash.
pub type Names = BTreeMap<String, Frames>;

/// Frames, innermost first.
#[derive(Clone, Default)]
pub struct Frames {
    /// The frames to show, with their lines.
    pub shown: Vec<String>,
    /// All frames in the log.
    pub all: Vec<String>,
    /// Only the functions, or the objects of unknown functions: they are the same in a new build.
    pub places: Vec<String>,
}

/// Names the stacks of points, by the objects that clean runs had mapped.
pub fn of<'a>(
    points: impl Iterator<Item = &'a Point>,
    recordings: impl Iterator<Item = PathBuf>,
    debug: &[PathBuf],
) -> Names {
    let (raw, options) =
        (Options { raw: true, ..Options::default() }, Options { debug: debug.to_vec(), ..Options::default() });
    let mut places = Places::new(&options);
    recordings.filter_map(|folder| load_all(&[folder.as_path()], &raw).ok()).for_each(|set| places.add(&set));
    let mut names = Names::new();
    for point in points {
        let mut sites = || point.frames.iter().map(|frame| places.site(frame)).collect::<Vec<_>>();
        names.entry(point.stack.clone()).or_insert_with(|| frames(&sites()));
    }
    names
}

/// Whether a frame belongs to the code that starts programs and threads.
pub fn starts_programs(frame: &str) -> bool {
    OF_LIBC.iter().any(|name| frame.starts_with(name))
}

fn frames(sites: &[Site]) -> Frames {
    let all = sites.iter().flat_map(|site| site.frames().zip(places(site)).collect::<Vec<_>>());
    let (all, mut places): (Vec<_>, Vec<_>) = all.filter(|(shown, _)| !starts_programs(shown)).unzip();
    let shown = all.iter().take(MOST).cloned().collect();
    places.truncate(MOST);
    Frames { shown, all, places }
}

/// The function of each frame of a site, or its object if the function is unknown.
fn places(site: &Site) -> impl Iterator<Item = String> {
    let object = || site.text.split_once("+0x").map_or("unknown", |(object, _)| object).to_owned();
    let own = site.function.clone().filter(|_| !site.behind).unwrap_or_else(object);
    let of_inlined = |text: &String| text.rsplit_once(" (").map_or(text.as_str(), |(name, _)| name).to_owned();
    std::iter::once(own).chain(site.inlined_into.iter().map(of_inlined).collect::<Vec<_>>())
}
