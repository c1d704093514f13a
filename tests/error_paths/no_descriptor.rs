//! Programs when no descriptor is free: sockets, accepted connections and opened files fail.

use super::*;

/// The calls with which a program opens files and accepts clients.
const NO_DESCRIPTOR: &str = "socket,accept4,openat:error=EMFILE:when=";

/// Redis logs the error, and accepts the client when it retries: the connection is still in the
/// queue.
#[test]
fn redis_that_has_no_descriptor_for_a_client_logs_an_error_and_serves_it_later() {
    let Some([server]) = installed(["redis-server"]) else { return };
    let (mut redis, port) = redis(&server, &[("EPOLLSHIM_INJECT", "accept4:error=EMFILE:when=1..3")]);
    until_ready(&mut redis);
    assert_eq!(ask(port, "PING\r\n", "+PONG\r\n", 2), [Answer::Served; 2]);
    let ended = redis.end(libc::SIGTERM);
    assert_eq!(ended.status.code(), Some(0), "{}{}", ended.stdout, ended.stderr);
    let said = "Accepting client connection: accept: Too many open files";
    assert_eq!(ended.stdout.matches(said).count(), 3, "{}", ended.stdout);
    assert_eq!(fired(ended.reports.values().next().unwrap()), [3]);
}

/// Redis ends with 1 if it cannot create its listening socket.
#[test]
fn redis_that_has_no_descriptor_to_listen_ends_with_1() {
    let Some([server]) = installed(["redis-server"]) else { return };
    let ended = redis(&server, &[("EPOLLSHIM_INJECT", &format!("{NO_DESCRIPTOR}1+"))]).0.ended();
    assert_eq!(ended.status.code(), Some(1), "{}{}", ended.stdout, ended.stderr);
}

/// nginx logs the error, does not accept for half a second, and then accepts the client.
#[test]
fn nginx_that_has_no_descriptor_for_a_client_logs_an_error_and_serves_it_later() {
    let Some([server]) = installed(["nginx"]) else { return };
    let (nginx, port) = nginx(&server, &[("EPOLLSHIM_INJECT", "accept4:error=EMFILE:when=1")]);
    assert_eq!(ask(port, HELLO, "HTTP/1.1 200", 2), [Answer::Served; 2]);
    let ended = nginx.end(libc::SIGQUIT);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
    let said = ended.log.matches("accept4() failed (24: Too many open files)").count() as u64;
    let all: u64 = ended.reports.values().map(|report| fired(report)[0]).sum();
    assert!(said == all && (1..=2).contains(&all), "{said} of {all}: {}", ended.log);
}

/// curl ends with 7 (CURLE_COULDNT_CONNECT) if it cannot create a socket.
#[test]
fn curl_that_has_no_descriptor_for_a_socket_ends_with_7() {
    let Some([curl]) = installed(["curl"]) else { return };
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let run = |rule: &str| {
        let mut command = Command::new(&curl);
        command.args(["-sS", "--max-time", "60", &url]).env("LD_PRELOAD", testkit::shim());
        command.env("EPOLLSHIM_REPORT", "none").env("EPOLLSHIM_INJECT", rule).output().unwrap()
    };
    let output = run(&format!("{NO_DESCRIPTOR}1+"));
    assert_eq!(output.status.code(), Some(7), "{}", testkit::show(&output));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("curl: (7) "), "{}", testkit::show(&output));
}

/// Python raises an OSError for each failed call, and continues after it is caught.
#[test]
fn python_raises_an_oserror_for_each_call_without_a_descriptor() {
    let Some(python) = python() else { return };
    let program = "import os, socket\n\
                   def tried(name, call):\n    try: call(); print(name, 'made')\n    except OSError as error: print(name, error.errno)\n\
                   for _ in range(2):\n\
                   \x20   tried('socket', socket.socket); tried('pipe', os.pipe); tried('dup', lambda: os.dup(0))\n\
                   \x20   tried('eventfd', lambda: os.eventfd(0)); tried('memfd', lambda: os.memfd_create('x'))\n";
    let rule = "socket,pipe2,eventfd2,memfd_create,fcntl,dup:error=EMFILE:when=2";
    let mut command = Command::new(python);
    command.args(["-I", "-S", "-c", program]).env("LD_PRELOAD", testkit::shim());
    let output = command.env("EPOLLSHIM_REPORT", "none").env("EPOLLSHIM_INJECT", rule).output().unwrap();
    assert!(output.status.success(), "{}", testkit::show(&output));
    let printed = String::from_utf8(output.stdout).unwrap();
    for name in ["socket", "pipe", "eventfd", "memfd"] {
        let of: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix(&format!("{name} "))).collect();
        assert_eq!(of, ["made", "24"], "{printed}");
    }
}
