//! Tests the text of `epollshim inspect` for processes that hang outside of epoll, and its errors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::process::{Child, Command, Stdio};

use common::{run, stderr, stdout, tool, until};

/// A Python program. It is killed when this is dropped.
struct Python(Child);

impl Python {
    fn start(script: &str) -> Option<Python> {
        let mut command = Command::new(tool("python3")?);
        Some(Python(command.args(["-c", script]).stdin(Stdio::null()).spawn().unwrap()))
    }

    /// What `inspect` prints once it prints `words`.
    fn inspected(&self, words: &[&str]) -> String {
        until(&format!("{words:?}"), || {
            let text = stdout(&run(&["inspect", &self.0.id().to_string()]));
            words.iter().all(|word| text.contains(word)).then_some(text)
        })
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

const STUCK: &str = "
import select, socket, threading
listener = socket.create_server(('127.0.0.1', 0))
peer, stuck = socket.socketpair()
sender, left = socket.socketpair()
sender.send(b'unread bytes')
watched, _ = socket.socketpair()
loop = select.epoll()
loop.register(watched, select.EPOLLIN)
threading.Thread(target=lambda: stuck.recv(1), daemon=True).start()
threading.Thread(target=listener.accept, daemon=True).start()
lock = threading.Lock()
lock.acquire()
lock.acquire()
";

#[test]
fn a_server_that_hangs_outside_of_epoll_shows_where() {
    let Some(server) = Python::start(STUCK) else { return };
    let text = server.inspected(&[" waits in recvfrom on fd ", " waits in accept4 on fd ", " waits in futex"]);
    assert!(text.contains("\nNo problems with epoll found\n\nOutside of epoll (not judged)\n  thread "), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    let after = |words: &str| {
        let at = lines.iter().position(|line| line.contains(words)).unwrap_or_else(|| panic!("no {words}: {text}"));
        let fd = lines[at].split_once(words).unwrap().1.split_once(',').unwrap().0;
        // How long: as far as it was observed.
        assert!(lines[at].contains(", for at least ") && lines[at].ends_with(" ms"), "{text}");
        // Lines are wrapped, since addresses and inodes have different lengths.
        let what = lines[at + 1..].iter().take_while(|line| line.starts_with("    ")).copied().collect::<String>();
        let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
        what.strip_prefix(&format!("fd {fd}: ")).unwrap_or_else(|| panic!("no fd {fd}: {text}")).to_owned()
    };
    let stuck = after(" waits in recvfrom on fd ");
    assert!(stuck.starts_with("unix") && stuck.contains(", 0 B unread"), "{text}");
    let listener = after(" waits in accept4 on fd ");
    assert!(listener.starts_with("tcp 127.0.0.1:") && listener.ends_with(" LISTEN"), "{text}");
    let lock = format!("  thread {} waits in futex, for at least ", server.0.id());
    assert!(text.contains(&lock) && text.contains(" ms: for a lock"), "{text}");
    // The watched one, and those that threads wait on, are not listed.
    let left = text.split_once("  4 sockets are in no epoll instance: fd ").unwrap_or_else(|| panic!("{text}")).1;
    assert!(left.contains(" (12 B unread)"), "{text}");
    assert!(lines.iter().any(|line| line.contains("sleeps in recvfrom on fd ")), "{text}");
}

#[test]
fn a_process_that_waits_in_epoll_alone_has_nothing_outside_of_it() {
    let Some(server) = Python::start("import select\nselect.epoll().poll()") else { return };
    let text = server.inspected(&["Instance fd 3: 0 interests; thread "]);
    assert!(text.contains("\nNo problems with epoll found\n\nInstance fd "), "{text}");
    assert!(!text.contains("Outside of epoll"), "{text}");
}

#[test]
fn a_name_instead_of_a_pid_is_a_usage_error_that_lists_its_processes() {
    let Some(server) =
        Python::start("import ctypes, time\nctypes.CDLL(None).prctl(15, b'stuck-server')\ntime.sleep(600)")
    else {
        return;
    };
    let line = format!("epollshim: 'stuck-server' is not a process id; process {} has that name\n", server.0.id());
    until("it has its name", || (stderr(&run(&["inspect", "stuck-server"])) == line).then_some(()));
    assert_eq!(run(&["inspect", "stuck-server"]).status.code(), Some(2));
}
