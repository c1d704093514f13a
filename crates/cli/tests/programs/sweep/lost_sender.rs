//! The receiver waits for a thread that could not be made, and holds a sender itself: hang.
use std::sync::mpsc;
use std::thread;

fn main() {
    let (send, receive) = mpsc::channel();
    let copy = send.clone();
    let made = thread::Builder::new().spawn(move || copy.send(42));
    if let Err(error) = &made {
        eprintln!("no thread: {error}");
        if cfg!(fixed) {
            std::process::exit(1);
        }
    }
    println!("received {:?}", receive.recv());
    drop(send);
}
