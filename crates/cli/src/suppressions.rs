//! Reads and checks files of suppressions, before anything else starts.

use std::io::Read;
use std::path::Path;

use epollshim_format::suppressions::{LONGEST_FILE, check};

use crate::text::{reason, shown};

/// The text of a file, if all of its lines are valid. The error names the file and the line.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    let text = read_text(path)?;
    match check(&text) {
        Ok(_) => Ok(text),
        Err(wrong) => Err(format!("{}:{wrong}", shown(path))),
    }
}

/// The text of a regular file. Fails if the file is longer than [`LONGEST_FILE`].
pub fn read_text(path: &Path) -> Result<Vec<u8>, String> {
    let said = |what: &str| format!("{}: {what}", shown(path));
    let unreadable = |error: std::io::Error| said(&reason(&error));
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err(said("not a plain file"));
    }
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(LONGEST_FILE as u64 + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() > LONGEST_FILE {
        return Err(said(&format!("longer than {LONGEST_FILE} bytes")));
    }
    Ok(text)
}
