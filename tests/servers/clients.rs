//! Clients of servers: each uses a protocol on a connection of its own, opens a new connection from
//! time to time, and checks each answer.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

/// One step of a client: sends requests and checks the answers. Returns the number of requests.
pub type Client = Box<dyn FnMut() -> u64 + Send>;

/// The time limit of an answer. Servers on a busy machine answer late.
const PATIENCE: Duration = Duration::from_secs(120);

fn tcp(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn read<const N: usize>(stream: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

fn read_some(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Sends `request`, and asserts that `answer` arrives.
fn answers(stream: &mut TcpStream, request: &[u8], answer: &[u8]) {
    stream.write_all(request).unwrap();
    let got = read_some(stream, answer.len());
    assert_eq!(got, answer, "{}", String::from_utf8_lossy(&got));
}

/// A client that sends `each` requests on a connection, and then opens another. `ask` gets the
/// number of the request, and returns whether the connection can be used again.
fn asking<C: Send + 'static>(
    each: u64,
    connect: impl Fn() -> C + Send + 'static,
    ask: impl Fn(&mut C, u64) -> bool + Send + 'static,
) -> Client {
    let (mut connection, mut number) = (None, 0);
    Box::new(move || {
        number += 1;
        let is_open = ask(connection.get_or_insert_with(&connect), number);
        if !is_open || number.is_multiple_of(each) {
            connection = None;
        }
        1
    })
}

/// HTTP/1.1 with persistent connections. The body of the answer to GET `target` contains `body`.
pub fn http(port: u16, target: String, body: &'static str) -> Client {
    asking(
        20,
        move || tcp(port),
        move |stream, _| {
            let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
            // A server may close a persistent connection at any time (RFC 9112, 9.5): then the
            // request is sent once more, on a new connection.
            let mut head = vec![0];
            if stream.write_all(request.as_bytes()).is_err() || !matches!(stream.read(&mut head), Ok(1)) {
                *stream = tcp(port);
                stream.write_all(request.as_bytes()).unwrap();
                head = read::<1>(stream).to_vec();
            }
            while !head.ends_with(b"\r\n\r\n") {
                head.extend(read::<1>(stream));
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            assert!(head.starts_with("http/1.1 200"), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let got = read_some(stream, length.unwrap_or_else(|| panic!("no length: {head}")));
            assert!(String::from_utf8_lossy(&got).contains(body), "{}", String::from_utf8_lossy(&got));
            !head.contains("connection: close")
        },
    )
}

pub fn redis(port: u16, name: usize) -> Client {
    asking(
        50,
        move || tcp(port),
        move |stream, number| {
            let request = format!("SET key{name} value{number:08}\r\nGET key{name}\r\n");
            answers(stream, request.as_bytes(), format!("+OK\r\n$13\r\nvalue{number:08}\r\n").as_bytes());
            true
        },
    )
}

pub fn memcached(port: u16, name: usize) -> Client {
    asking(
        50,
        move || tcp(port),
        move |stream, number| {
            let request = format!("set key{name} 0 0 8\r\n{number:08}\r\nget key{name}\r\n");
            let answer = format!("STORED\r\nVALUE key{name} 0 8\r\n{number:08}\r\nEND\r\n");
            answers(stream, request.as_bytes(), answer.as_bytes());
            true
        },
    )
}

pub fn echo(port: u16) -> Client {
    asking(
        50,
        move || tcp(port),
        |stream, number| {
            let message: Vec<u8> = (0..number % 3_000 + 1).map(|at| (at % 251) as u8).collect();
            answers(stream, &message, &message);
            true
        },
    )
}

/// The protocol of PostgreSQL, version 3: each message has a letter, a length and a body.
pub fn postgres(port: u16) -> Client {
    /// Reads messages until the server is ready. Returns their letters and bodies.
    fn until_ready(stream: &mut TcpStream) -> Vec<(u8, Vec<u8>)> {
        let mut all = Vec::new();
        loop {
            let [letter, length @ ..] = read::<5>(stream);
            let body = read_some(stream, u32::from_be_bytes(length) as usize - 4);
            assert_ne!(letter, b'E', "{}", String::from_utf8_lossy(&body));
            if letter == b'Z' {
                return all;
            }
            all.push((letter, body));
        }
    }
    let connect = move || {
        let mut stream = tcp(port);
        let names = b"user\0postgres\0database\0postgres\0\0";
        let mut hello = Vec::from((names.len() as u32 + 8).to_be_bytes());
        hello.extend(196_608_u32.to_be_bytes());
        hello.extend(names);
        stream.write_all(&hello).unwrap();
        until_ready(&mut stream);
        stream
    };
    // Each connection is a process of the server.
    asking(1_000, connect, |stream, number| {
        let text = format!("SELECT {number} + 1\0");
        let mut query = vec![b'Q'];
        query.extend((text.len() as u32 + 4).to_be_bytes());
        query.extend(text.as_bytes());
        stream.write_all(&query).unwrap();
        let row = until_ready(stream).into_iter().find(|(letter, _)| *letter == b'D').unwrap();
        assert!(row.1.ends_with((number + 1).to_string().as_bytes()), "{row:?}");
        true
    })
}

/// The protocol of MySQL, for a server without passwords: each packet begins with a length of three
/// bytes and a number.
pub fn mariadb(port: u16) -> Client {
    fn packet(stream: &mut TcpStream) -> Vec<u8> {
        let [a, b, c, _] = read::<4>(stream);
        read_some(stream, u32::from_le_bytes([a, b, c, 0]) as usize)
    }
    fn send(stream: &mut TcpStream, number: u8, body: &[u8]) {
        let [a, b, c, _] = (body.len() as u32).to_le_bytes();
        stream.write_all(&[&[a, b, c, number], body].concat()).unwrap();
    }
    let connect = move || {
        let mut stream = tcp(port);
        packet(&mut stream);
        // CLIENT_PROTOCOL_41, CLIENT_SECURE_CONNECTION; a packet of at most 16 MiB; utf8; no
        // password.
        let mut hello = Vec::from(0x8200_u32.to_le_bytes());
        hello.extend(0x0100_0000_u32.to_le_bytes());
        hello.push(33);
        hello.extend([0; 23]);
        hello.extend(b"root\0\0");
        send(&mut stream, 1, &hello);
        let answer = packet(&mut stream);
        assert_eq!(answer.first(), Some(&0), "{}", String::from_utf8_lossy(&answer));
        stream
    };
    asking(30, connect, |stream, number| {
        send(stream, 0, format!("\x03SELECT {number} + 1").as_bytes());
        // The number of columns, the column, its end, the row, its end.
        let [_, _, _, row, _] = [(); 5].map(|()| packet(stream));
        assert!(row.ends_with((number + 1).to_string().as_bytes()), "{}", String::from_utf8_lossy(&row));
        true
    })
}

/// MQTT 3.1.1: a client that subscribes to its own messages.
pub fn mqtt(port: u16, name: usize) -> Client {
    fn packet(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        [&[kind, body.len() as u8], &body[..]].concat()
    }
    let text = |text: &str| [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
    let connect = move || {
        let mut stream = tcp(port);
        let (id, topic) = (text(&format!("client{name}")), text(&format!("topic/{name}")));
        let hello = packet(0x10, &[&text("MQTT"), &[4, 2, 0, 60], &id]);
        answers(&mut stream, &hello, &[0x20, 2, 0, 0]);
        answers(&mut stream, &packet(0x82, &[&[0, 1], &topic, &[0]]), &[0x90, 3, 0, 1, 0]);
        stream
    };
    asking(50, connect, move |stream, number| {
        let message = packet(0x30, &[&text(&format!("topic/{name}")), format!("{number}").as_bytes()]);
        answers(stream, &message, &message);
        true
    })
}

/// Asks for the address of a.test: by UDP, and sometimes by TCP.
pub fn dns(port: u16) -> Client {
    let connect = move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    asking(50, connect, move |socket, number| {
        let id = (number as u16).to_be_bytes();
        let query = [&id[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0], b"\x01a\x04test\0\0\x01\0\x01"].concat();
        let answer = if number % 10 == 0 {
            let mut stream = tcp(port);
            let length = (query.len() as u16).to_be_bytes();
            stream.write_all(&[&length, &query[..]].concat()).unwrap();
            let length = u16::from_be_bytes(read(&mut stream));
            read_some(&mut stream, length.into())
        } else {
            socket.send(&query).unwrap();
            let mut answer = [0; 512];
            let length = socket.recv(&mut answer).unwrap();
            answer[..length].to_vec()
        };
        assert_eq!(&answer[..2], id);
        assert!(answer.windows(4).any(|bytes| bytes == [192, 0, 2, 1]), "{answer:?}");
        true
    })
}

/// Requests a PHP script by FastCGI, each time on a new connection.
pub fn fastcgi(port: u16, script: String) -> Client {
    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        let [high, low] = (body.len() as u16).to_be_bytes();
        [&[1, kind, 0, 1, high, low, 0, 0], body].concat()
    }
    Box::new(move || {
        let mut parameters = Vec::new();
        for (name, value) in [("SCRIPT_FILENAME", &script[..]), ("REQUEST_METHOD", "GET"), ("QUERY_STRING", "")] {
            parameters.extend([name.len() as u8, value.len() as u8]);
            parameters.extend(name.bytes().chain(value.bytes()));
        }
        let request =
            [record(1, &[0, 1, 0, 0, 0, 0, 0, 0]), record(4, &parameters), record(4, &[]), record(5, &[])].concat();
        let mut stream = tcp(port);
        stream.write_all(&request).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains("hello 42"), "{answer}");
        1
    })
}

/// Runs a client program, which must print exactly `answer`.
pub fn program(mut command: Command, number: u64, answer: &'static str) -> Client {
    command.stdin(Stdio::null());
    Box::new(move || {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", testkit::show(&output));
        assert_eq!(String::from_utf8_lossy(&output.stdout), answer, "{}", testkit::show(&output));
        number
    })
}
