//! Makes the files that are installed besides the command, from its command line: the manual pages
//! and the completions. `make` runs this with the output directory. None of it is part of the
//! command.
#![allow(clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;

mod completions;
mod pages;

fn main() {
    let directory = std::env::args_os().nth(1).expect("the directory to write into");
    let directory = Path::new(&directory);
    let command = epollshim_cli::args::command();
    for (name, files) in [("man", pages::all(command.clone())), ("completions", completions::all(&command))] {
        let directory = directory.join(name);
        // A file that is no longer made would otherwise still be installed.
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("a directory for it");
        for (name, text) in files {
            let path = directory.join(name);
            fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}
