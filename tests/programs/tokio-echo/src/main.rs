//! An echo server on tokio: prints its port, serves until SIGTERM, prints totals, exits with 6.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(worker_threads = 3)]
async fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut terminate = signal(SignalKind::terminate()).expect("a signal handler");
    println!("port {}", listener.local_addr().expect("an address").port());
    let (connections, bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("a connection");
                connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(echo(stream, bytes.clone()));
            }
            _ = terminate.recv() => break,
        }
    }
    println!("served {} connections, {} bytes", connections.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed));
    std::process::exit(6);
}

async fn echo(mut stream: TcpStream, bytes: Arc<AtomicU64>) {
    let mut buffer = [0; 4096];
    while let Ok(Ok(read @ 1..)) = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut buffer)).await {
        bytes.fetch_add(read as u64, Ordering::Relaxed);
        if stream.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
