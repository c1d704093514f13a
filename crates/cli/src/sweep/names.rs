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

/// The frames of each stack, the innermost first, by the stack's name.
pub type Names = BTreeMap<String, Vec<String>>;

/// Adds those that a run has recorded.
pub fn add(recordings: &Path, debug: &[PathBuf], names: &mut Names) {
    let options = Options { debug: debug.to_vec(), all_stacks: true, ..Options::default() };
    let Ok(set) = load_all(&[recordings], &options) else { return };
    for process in &set.processes {
        for (hash, frames) in process.stacks_by_hash(DEPTH) {
            names.entry(format!("{hash:016x}/{DEPTH}")).or_insert_with(|| shown(&frames));
        }
    }
}

fn shown(frames: &[std::sync::Arc<Site>]) -> Vec<String> {
    let is_of_libc = |text: &String| OF_LIBC.iter().any(|name| text.starts_with(name));
    let all = frames.iter().flat_map(|site| site.frames().collect::<Vec<_>>());
    all.filter(|text| !is_of_libc(text)).take(MOST).collect()
}
