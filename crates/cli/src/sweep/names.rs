//! Names of points: the functions on their call stacks, by the recordings of a clean run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use epollshim_recording::{Options, Site, load_all};

/// How many callers the log of faults names a stack by (docs/faults.md, "stack=HASH/8").
const DEPTH: usize = 8;
/// Frames that are shown of a stack.
const MOST: usize = 4;
/// What starts programs and threads says nothing of a place.
const OF_LIBC: [&str; 6] =
    ["__libc_start_call_main", "__libc_start_main", "_start", "start_thread", "clone3", "__clone3"];

/// The frames of each stack, by the stack's name.
pub type Names = BTreeMap<String, Frames>;

/// The innermost first.
#[derive(Clone, Default)]
pub struct Frames {
    /// With their lines.
    pub shown: Vec<String>,
    /// The functions alone, or the objects of functions without a name: what a new build still has.
    pub places: Vec<String>,
}

/// Adds those that a run has recorded.
pub fn add(recordings: &Path, debug: &[PathBuf], names: &mut Names) {
    let options = Options { debug: debug.to_vec(), all_stacks: true, ..Options::default() };
    let Ok(set) = load_all(&[recordings], &options) else { return };
    for process in &set.processes {
        for (hash, frames) in process.stacks_by_hash(DEPTH) {
            names.entry(format!("{hash:016x}/{DEPTH}")).or_insert_with(|| of(&frames));
        }
    }
}

fn of(sites: &[std::sync::Arc<Site>]) -> Frames {
    let is_of_libc = |text: &String| OF_LIBC.iter().any(|name| text.starts_with(name));
    let all = sites.iter().flat_map(|site| site.frames().zip(places(site)).collect::<Vec<_>>());
    let (shown, places) = all.filter(|(shown, _)| !is_of_libc(shown)).take(MOST).unzip();
    Frames { shown, places }
}

/// The function of each frame of a site; of one without a name, its object.
fn places(site: &Site) -> impl Iterator<Item = String> {
    let object = || site.text.split_once("+0x").map_or("unknown", |(object, _)| object).to_owned();
    let own = site.function.clone().filter(|_| !site.behind).unwrap_or_else(object);
    let of_inlined = |text: &String| text.rsplit_once(" (").map_or(text.as_str(), |(name, _)| name).to_owned();
    std::iter::once(own).chain(site.inlined_into.iter().map(of_inlined).collect::<Vec<_>>())
}
