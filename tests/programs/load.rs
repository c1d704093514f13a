//! Loads with fixed requests, whose answers can be compared byte by byte.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(300))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends `request` and reads until the server closes.
pub fn conversation(port: u16, request: &str) -> String {
    let mut stream = connect(port);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Opens `connections` at the same time. Each sends `messages` messages of growing length, and
/// waits for the answer before it sends the next.
pub fn echo(port: u16, connections: usize, messages: usize) {
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                let mut stream = connect(port);
                for length in 1..=messages {
                    let message: Vec<u8> = (0..length * 7).map(|i| (i % 251) as u8).collect();
                    let mut answer = vec![0; message.len()];
                    stream.write_all(&message).unwrap();
                    stream.read_exact(&mut answer).unwrap();
                    assert_eq!(answer, message);
                }
            });
        }
    });
}

/// Runs an existing load generator, which must succeed. Returns its output.
pub fn tool(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}: {}", program.display(), testkit::show(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
