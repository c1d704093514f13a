//! What is installed besides the command, made from its command line: the manual pages and the shells' completions.
//! `make` runs this, with the directory to write them into; none of it is part of the command.
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
        // What is made no more would be installed.
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("a directory for it");
        for (name, text) in files {
            let path = directory.join(name);
            fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}
