//! Ports for servers.

use std::sync::atomic::{AtomicU32, Ordering};

/// The first port, and how many there are. They are below those that the kernel gives to clients
/// (ip_local_port_range: from 32768 on): no connection of another test takes one before the server
/// does.
const FIRST: u16 = 10_240;
const COUNT: u32 = 20_480;

/// A TCP port that no socket of this machine used a moment ago.
///
/// The kernel's tables are read instead of binding a socket: a child that another test forks at
/// that moment would hold a copy until its exec, and the server's port would be taken, or seem to
/// have a server.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    // Two test programs at the same time begin at different ports.
    let start = std::process::id().wrapping_mul(97);
    let free = (0..COUNT).find_map(|_| {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (start.wrapping_add(step) % COUNT) as u16;
        (!tables.iter().any(|table| has_local(table, port))).then_some(port)
    });
    free.expect("a free port")
}

/// Whether a line of /proc/net/tcp (proc_pid_net(5)) has this local port: `N: ADDRESS:PORT ...`.
fn has_local(table: &str, port: u16) -> bool {
    let end = format!(":{port:04X}");
    table.lines().any(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&end)))
}

#[cfg(test)]
mod tests {
    use super::{free_port, has_local};

    #[test]
    fn a_port_that_listens_is_not_free() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(has_local(&std::fs::read_to_string("/proc/net/tcp").unwrap(), port));
        assert_ne!(free_port(), free_port());
    }
}
