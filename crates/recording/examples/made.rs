//! `made DIR`: two recordings of a server that never was, to look at reports without one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../tests/common/mod.rs"]
mod common;

fn main() {
    let directory = std::path::PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| ".".into()));
    std::fs::create_dir_all(&directory).unwrap();
    for (pid, killed) in [(4100, false), (4200, true)] {
        let made = common::server(pid, pid / 4000 * common::SECOND + pid * 30_000, killed);
        std::fs::write(directory.join(format!("epollshim.{pid}.1.rec")), made.bytes).unwrap();
    }
    std::fs::write(directory.join("epollshim.1.1.rec"), common::small().bytes).unwrap();
}
