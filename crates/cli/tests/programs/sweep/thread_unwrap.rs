//! A thread's `unwrap` ends only that thread, and nothing checks its result: lost output, status 0.
use std::thread;

fn main() {
    let worker = thread::spawn(|| {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        println!("bound {}", socket.local_addr().is_ok());
    });
    let ended = worker.join();
    if cfg!(fixed) && ended.is_err() {
        std::process::exit(1);
    }
    println!("done");
}
