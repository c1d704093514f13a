//! The samples of README.md and docs/ are what the programs print. Figures, process ids, addresses, offsets and times are not compared.
//! `make samples` writes them anew (EPOLLSHIM_BLESS=1).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use testkit::skipped;
use testkit::{c_program, root, run, scratch, shim, show};

fn epollshim() -> Command {
    let mut command = Command::new(shim().with_file_name("epollshim"));
    command.stdin(Stdio::null());
    command
}

/// Numbers with what belongs to them (`1.27 us`, `3,056`, `+0xcd`) are N, rows of them one N, and columns one space apart.
fn masked(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        let is_unit = ["ns", "us", "ms", "s", "B", "KiB", "MiB"].contains(&word.trim_end_matches(','));
        let is_after_number = words.last().is_some_and(|last| last.ends_with('N'));
        let mut text = String::new();
        let mut rest = word;
        while let Some(at) = rest.find(|letter: char| letter.is_ascii_digit()) {
            text.push_str(&rest[..at]);
            let number = &rest[at..];
            let is_hexadecimal = number.starts_with("0x");
            let is_part = |letter: char| {
                letter.is_ascii_digit()
                    || ".,".contains(letter)
                    || is_hexadecimal && (letter == 'x' || letter.is_ascii_hexdigit())
            };
            let end = number.find(|letter| !is_part(letter)).unwrap_or(number.len());
            let end = number[..end].trim_end_matches([',', '.']).len().max(1);
            text.push('N');
            rest = &number[end..];
        }
        text.push_str(rest);
        let is_repeated = text == "N" && words.last().is_some_and(|last| last == "N");
        if !(is_unit && is_after_number || is_repeated) {
            words.push(text);
        }
    }
    words.join(" ").replace(" is open", " are open").replace(" was ", " were ")
}

/// Compares a sample, the indented lines of a document from the one that begins with `first` on to the next text, with what was
/// printed: what stands between lines of `...` was printed in one piece, in that order.
fn is_real(path: &str, first: &str, printed: &str) {
    // Two samples of a document are not written at a time.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    let file = root().join(path);
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let is_sample = |line: &str| line.starts_with("    ");
    let begin = lines.iter().position(|line| is_sample(line) && line[4..].starts_with(first));
    let begin = begin.unwrap_or_else(|| panic!("{path} has no sample that begins with {first}"));
    let length = lines[begin..].iter().position(|line| !line.is_empty() && !is_sample(line));
    let length = length.unwrap_or(lines.len() - begin);
    let sample = lines[begin..begin + length].join("\n");
    let sample: Vec<&str> = sample.trim_end().lines().map(|line| line.get(4..).unwrap_or_default()).collect();
    let printed: Vec<&str> = printed.lines().collect();
    let masked_lines: Vec<String> = printed.iter().map(|line| masked(line)).collect();
    let mut real: Vec<String> = Vec::new();
    let mut from = 0;
    for (index, piece) in sample.split(|line| *line == "...").enumerate() {
        if index > 0 {
            real.push("...".to_owned());
        }
        // The command line of the sample is not printed.
        let is_command = |line: &&&str| line.starts_with("$ ");
        let commands = piece.iter().take_while(is_command).count();
        real.extend(piece[..commands].iter().map(|line| (*line).to_owned()));
        let piece = &piece[commands..];
        let Some(head) = piece.first() else { continue };
        let blessed = std::env::var_os("EPOLLSHIM_BLESS").is_some();
        let wanted: Vec<String> = piece.iter().map(|line| masked(line)).collect();
        let is_here =
            |at: &usize| masked_lines[*at..].starts_with(&wanted) || blessed && masked_lines[*at] == masked(head);
        let Some(at) = (from..masked_lines.len()).find(is_here) else {
            panic!("{path}: not printed in one piece:\n{}\nbut:\n{}", wanted.join("\n"), masked_lines.join("\n"));
        };
        let end = (at + piece.len()).min(printed.len());
        real.extend(printed[at..end].iter().map(|line| (*line).to_owned()));
        from = end;
    }
    if std::env::var_os("EPOLLSHIM_BLESS").is_some() {
        let indented = |line: &String| if line.is_empty() { String::new() } else { format!("    {line}") };
        let mut whole: Vec<String> = lines[..begin].iter().map(|line| (*line).to_owned()).collect();
        whole.extend(real.iter().map(indented));
        whole.extend(lines[begin + sample.len()..].iter().map(|line| (*line).to_owned()));
        std::fs::write(&file, whole.join("\n") + "\n").unwrap();
    }
}

#[test]
fn the_first_example_of_the_readme() {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_installed = |name: &str| std::env::split_paths(&path).any(|place| place.join(name).is_file());
    if !is_installed("redis-server") || !is_installed("redis-benchmark") {
        return skipped("redis-server or redis-benchmark is not installed", false);
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let directory = scratch("redis");
    let mut command = epollshim();
    command.args(["run", "--", "redis-server", "--port"]).arg(port.to_string()).arg("--dir").arg(&directory);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < Duration::from_secs(100), "redis does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut load = Command::new("redis-benchmark");
    load.args(["-q", "-t", "get,set", "-n", "2000", "-c", "50", "-p"]).arg(port.to_string());
    let load = load.output().unwrap();
    let stop = Command::new("redis-cli").arg("-p").arg(port.to_string()).args(["shutdown", "nosave"]).output().unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(load.status.success(), "{}", show(&load));
    assert!(stop.status.success(), "{}", show(&stop));
    let printed = String::from_utf8_lossy(&ended.stderr).replace(&port.to_string(), "7000");
    is_real("README.md", "$ epollshim run -- redis-server", &printed);
}

#[test]
fn nothing_to_report() {
    let ended = epollshim().args(["run", "--", "true"]).output().unwrap();
    is_real("docs/command.md", "$ epollshim run -- true", &String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn files_that_are_no_recordings() {
    let file = scratch("damage").join("x.rec");
    let short = [b"EPOLLREC".as_slice(), &2u64.to_le_bytes(), &[0; 84]].concat();
    let old = [b"EPOLLREC".as_slice(), &1u64.to_le_bytes(), &[0; 8192]].concat();
    let mut printed = String::new();
    for bytes in [vec![b'x'; 8192], old, short] {
        std::fs::write(&file, bytes).unwrap();
        let told = epollshim().arg("report").arg(&file).output().unwrap();
        let told = String::from_utf8_lossy(&told.stderr).replace(file.parent().unwrap().to_str().unwrap(), "");
        printed.push_str(&told.replace("epollshim: /x.rec", "x.rec"));
    }
    is_real("docs/recording.md", "x.rec: at byte 0: ", &printed);
}

#[test]
fn under_a_seccomp_filter() {
    let mut command = Command::new(c_program("hosts/seccomp"));
    command.arg("foreign").env("LD_PRELOAD", shim()).env("EPOLLSHIM_REPORT", "stderr");
    let ended = run(&mut command);
    is_real("docs/report.md", "Coverage: NOT compared", &ended.stderr);
}

#[test]
fn what_is_wrong_comes_first() {
    if !std::path::Path::new("/usr/bin/python3").exists() {
        return skipped("/usr/bin/python3 is not installed", true);
    }
    let script = "
import os, select
loop = select.epoll()
read, write = os.pipe()
loop.register(read)
os.close(write)
for call, fd in (loop.modify, write), (loop.register, read):
    try: call(fd, select.EPOLLIN)
    except OSError: pass
loop.close()
";
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", script]).env("LD_PRELOAD", shim()).env("EPOLLSHIM_REPORT", "stderr");
    is_real("README.md", "epollshim: python3 (pid ", &run(&mut command).stderr);
}

/// The names of stacks, which each build has of its own, in the order in which they come.
fn stacks(text: &str) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for (at, key) in text.match_indices("stack=") {
        let name = text.get(at + key.len()..at + key.len() + 16).unwrap_or_default();
        if !found.contains(&name) && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            found.push(name);
        }
    }
    found
}

#[test]
fn the_tour_of_the_sweep() {
    let tour = scratch("sweep").join("tour");
    std::fs::create_dir(&tour).unwrap();
    std::fs::copy(root().join("examples/tour/save.c"), tour.join("save.c")).unwrap();
    std::fs::write(tour.join("text"), "one\ntwo\n").unwrap();
    let compiled = Command::new("cc").args(["-g", "-o", "save", "save.c"]).current_dir(&tour).output().unwrap();
    assert!(compiled.status.success(), "{}", show(&compiled));
    let swept = epollshim().args(["sweep", "--input", "text", "--", "./save"]).current_dir(&tour).output().unwrap();
    assert_eq!(swept.status.code(), Some(1), "{}", show(&swept));
    let printed = String::from_utf8_lossy(&swept.stdout);
    for document in ["docs/tour-sweep.md", "README.md"] {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        let mut printed = printed.to_string();
        for (here, there) in stacks(&printed.clone()).into_iter().zip(stacks(&text)) {
            printed = printed.replace(here, there);
        }
        is_real(document, "$ epollshim sweep --input text -- ./save", &printed);
    }
}
