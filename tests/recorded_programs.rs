//! Well-known servers under `epollshim run --record`, ended properly and by SIGKILL under load.
//! Each format of `epollshim report` must contain what the servers' own exit reports contain.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "recorded/lines.rs"]
mod lines;
#[allow(dead_code)]
mod programs;
mod recorded;

use programs::{HUNG, Running, free_port, load, nginx_directory, nginx_directory_at, python};
use recorded::{count, every_format, json, page, processes, report, start, sums};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use testkit::{installed, skipped};

/// A server that is listening.
struct Server {
    running: Running,
    /// Runs a load, which must succeed.
    load: Box<dyn Fn()>,
    port: u16,
    /// A request that the server answers, any number of times on one connection.
    request: &'static str,
}

impl Server {
    /// Starts two clients that send requests until the server is gone.
    fn keep_busy(&self) {
        for _ in 0..2 {
            let (mut stream, request) = (TcpStream::connect(("127.0.0.1", self.port)).unwrap(), self.request);
            std::thread::spawn(move || {
                let mut answer = [0; 16384];
                while stream.write_all(request.as_bytes()).is_ok() && stream.read(&mut answer).is_ok_and(|got| got > 0)
                {
                }
            });
        }
    }
}

const HTTP: &str = "GET /page HTTP/1.1\r\nHost: test\r\n\r\n";

fn redis() -> Option<Server> {
    let [server, benchmark] = installed(["redis-server", "redis-benchmark"])?;
    let (dir, port) = (testkit::scratch("recorded-redis"), free_port().to_string());
    let data = dir.display().to_string();
    let options = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", &data];
    let mut running = start(dir, &server, &options);
    let number = port.parse().unwrap();
    running.until_listening(number);
    let load = move || drop(load::tool(&benchmark, &["-p", &port, "-c", "50", "-n", "20000", "-q", "-t", "set,lpush"]));
    Some(Server { running, load: Box::new(load), port: number, request: "PING\r\n" })
}

fn nginx() -> Option<Server> {
    let [server, wrk] = installed(["nginx", "wrk"])?;
    let port = free_port();
    let (dir, words) = nginx_directory(port);
    let mut running = start(dir, &server, &words.each_ref().map(String::as_str));
    running.until_listening(port);
    Some(Server { running, load: Box::new(move || wrk_for_a_second(&wrk, port)), port, request: HTTP })
}

fn wrk_for_a_second(wrk: &Path, port: u16) {
    for path in ["page", "proxied"] {
        let url = format!("http://127.0.0.1:{port}/{path}");
        let said = load::tool(wrk, &["-t", "1", "-c", "20", "-d", "1s", "--timeout", "60s", &url]);
        assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
    }
}

fn memcached(options: &[&str]) -> Option<Server> {
    let [server] = installed(["memcached"])?;
    let port = free_port();
    let text = port.to_string();
    let options = [&["-l", "127.0.0.1", "-p", &text, "-U", "0", "-t", "4"], options].concat();
    let mut running = start(testkit::scratch("recorded-memcached"), &server, &options);
    running.until_listening(port);
    let load = move || {
        for round in 0..200 {
            let request = format!("set key{round} 0 0 5\r\nvalue\r\nget key{round} key0\r\nquit\r\n");
            assert!(load::conversation(port, &request).contains("VALUE"));
        }
    };
    Some(Server { running, load: Box::new(load), port, request: "get key0\r\n" })
}

fn asyncio() -> Option<Server> {
    let script = testkit::root().join("tests/programs/echo.py");
    let mut running = start(testkit::scratch("recorded-asyncio"), &python()?, &[script.to_str().unwrap()]);
    let port = running.printed_port();
    Some(Server { running, load: Box::new(move || load::echo(port, 8, 60)), port, request: "again\n" })
}

fn node() -> Option<Server> {
    let [program] = installed(["node"])?;
    let script = testkit::root().join("tests/programs/http.js");
    let mut running = start(testkit::scratch("recorded-node"), &program, &[script.to_str().unwrap()]);
    let port = running.printed_port();
    let load = move || {
        for number in 0..100 {
            let request = format!("GET /{number} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
            assert!(load::conversation(port, &request).contains(&format!("GET /{number}")));
        }
    };
    Some(Server { running, load: Box::new(load), port, request: HTTP })
}

/// Runs the load, reads the recording while the server runs, and ends the server by its own signal.
/// The recording must match the exit reports. Returns its directory.
#[track_caller]
fn is_recorded_as_it_reports(Server { running, load, .. }: Server, signal: i32, number: usize) -> PathBuf {
    load();
    let dir = running.dir().to_owned();
    let recordings = dir.join("rec");
    let live = json(&recordings);
    assert_eq!(processes(&live).len(), number, "{live}");
    for process in processes(&live) {
        assert_eq!(process["process"]["end"], "running", "{process}");
    }
    let ended = running.end(signal);
    let reported = every_format(&recordings);
    assert_eq!(processes(&reported).len(), number, "{reported}");
    assert_eq!(ended.reports.len(), number, "{:?}", ended.reports);
    for process in processes(&reported) {
        let pid = process["process"]["pid"].as_i64().unwrap();
        sums::same(process, &ended.reports[&pid]);
    }
    // Each process has done at least what the recording of the running process showed.
    not_less(&reported, &live);
    let kept = testkit::scratch("recorded").join("rec");
    std::fs::rename(&recordings, &kept).unwrap();
    kept
}

/// Kills the server while it answers. The recording must contain every call from before, in all
/// formats.
#[track_caller]
fn is_recorded_when_killed(server: Server, number: usize) {
    (server.load)();
    server.keep_busy();
    let recordings = server.running.dir().join("rec");
    let live = json(&recordings);
    let ended = server.running.kill();
    // The descendants of the killed process end a little later.
    let start = Instant::now();
    let reported = loop {
        let reported = json(&recordings);
        if processes(&reported).iter().all(|process| process["process"]["end"] != "running") {
            break every_format(&recordings);
        }
        assert!(start.elapsed() < HUNG, "{reported}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(processes(&reported).len(), number, "{reported}");
    assert!(ended.reports.is_empty());
    for process in processes(&reported) {
        assert_eq!(process["process"]["end"], "signal", "{process}");
    }
    assert!(report(&recordings, &[]).contains("), killed after at least "));
    not_less(&reported, &live);
}

#[track_caller]
fn not_less(reported: &Value, live: &Value) {
    for (after, before) in processes(reported).iter().zip(processes(live)) {
        assert_eq!(after["process"]["pid"], before["process"]["pid"]);
        for (name, call) in before["calls"].as_object().unwrap() {
            assert!(count(&after["calls"][name]["calls"]) >= count(&call["calls"]), "{name}: {before}\n{after}");
        }
        assert!(count(&after["waits"]["events"]["total"]) >= count(&before["waits"]["events"]["total"]));
    }
}

#[test]
fn redis_under_load_is_recorded_as_it_reports() {
    let Some(server) = redis() else { return };
    let reported = json(&is_recorded_as_it_reports(server, libc::SIGTERM, 1));
    let process = &processes(&reported)[0];
    assert!(count(&process["calls"]["epoll_wait"]["calls"]) > 100, "{process}");
    let instance = &process["instances"]["list"][0];
    assert_eq!((&instance["call"], &instance["size"]), (&json!("epoll_create"), &json!(1024)), "{instance}");
}

#[test]
fn redis_killed_under_load_is_recorded() {
    let Some(server) = redis() else { return };
    is_recorded_when_killed(server, 1);
}

#[test]
fn nginx_and_its_workers_are_recorded_as_they_report_and_the_page_opens_in_a_browser() {
    let Some(server) = nginx() else { return };
    let recordings = is_recorded_as_it_reports(server, libc::SIGQUIT, 3);
    let reported = json(&recordings);
    let titles: Vec<&str> =
        processes(&reported).iter().map(|process| process["process"]["argv"][0].as_str().unwrap()).collect();
    assert!(titles[1..].iter().all(|title| title.starts_with("nginx: worker process")), "{titles:?}");
    page::opens(&report(&recordings, &["--format", "html"]), recordings.parent().unwrap());
}

#[test]
fn nginx_killed_under_load_is_recorded_with_its_workers() {
    let Some(server) = nginx() else { return };
    is_recorded_when_killed(server, 3);
}

#[test]
fn memcached_with_its_threads_is_recorded_as_it_reports() {
    let user: &[&str] = if is_root() { &["-u", "root"] } else { &[] };
    let Some(server) = memcached(user) else { return };
    let reported = json(&is_recorded_as_it_reports(server, libc::SIGTERM, 1));
    // The main thread of libevent, and four workers.
    assert!(processes(&reported)[0]["threads"].as_array().unwrap().len() >= 5, "{reported}");
}

#[test]
fn memcached_killed_under_load_is_recorded() {
    let user: &[&str] = if is_root() { &["-u", "root"] } else { &[] };
    let Some(server) = memcached(user) else { return };
    is_recorded_when_killed(server, 1);
}

#[test]
fn an_asyncio_server_is_recorded_as_it_reports() {
    let Some(server) = asyncio() else { return };
    is_recorded_as_it_reports(server, libc::SIGTERM, 1);
}

#[test]
fn an_asyncio_server_killed_under_load_is_recorded() {
    let Some(server) = asyncio() else { return };
    is_recorded_when_killed(server, 1);
}

#[test]
fn a_node_server_is_recorded_as_it_reports() {
    let Some(server) = node() else { return };
    is_recorded_as_it_reports(server, libc::SIGTERM, 1);
}

#[test]
fn a_node_server_killed_under_load_is_recorded() {
    let Some(server) = node() else { return };
    is_recorded_when_killed(server, 1);
}

// ---- A program that changes its user ----

fn is_root() -> bool {
    // SAFETY: geteuid cannot fail and has no arguments.
    unsafe { libc::geteuid() == 0 }
}

/// What `id` prints about the user nobody.
fn nobody(words: &[&str]) -> Option<String> {
    let output = Command::new("id").args(words).arg("nobody").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A directory that the user nobody can reach. It is removed at the end. (Directories of a build
/// tree may be below a private one.)
struct Open(PathBuf);

impl Open {
    fn new(name: &str) -> Open {
        let path = std::env::temp_dir().join(format!("epollshim-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        // With the mode of /tmp: the exit reports of all users go there.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o1777)).unwrap();
        Open(path)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs nginx as root with `user nobody;` through one load, and ends it properly. `rec` is created
/// before that if `made` gives its mode.
fn nginx_of_nobody(open: &Open, made: Option<u32>) -> Option<programs::Ended> {
    let [server, wrk] = installed(["nginx", "wrk"])?;
    let (Some(group), true) = (nobody(&["-gn"]), is_root()) else {
        skipped("not root, or there is no user nobody: workers do not change their user", true);
        return None;
    };
    let port = free_port();
    let (dir, words) = nginx_directory_at(open.0.clone(), port, &format!("user nobody {group};"));
    if let Some(mode) = made {
        std::fs::create_dir(dir.join("rec")).unwrap();
        std::fs::set_permissions(dir.join("rec"), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut running = start(dir, &server, &words.each_ref().map(String::as_str));
    running.until_listening(port);
    wrk_for_a_second(&wrk, port);
    Some(running.end(libc::SIGQUIT))
}

#[test]
fn nginx_workers_of_another_user_leave_their_recordings_in_a_directory_that_root_made() {
    let open = Open::new("drop-box");
    let recordings = open.0.join("rec");
    let Some(ended) = nginx_of_nobody(&open, None) else { return };
    let directory = std::fs::metadata(&recordings).unwrap();
    assert_eq!((directory.mode() & 0o7777, directory.uid()), (0o1733, 0));
    let uid: u32 = nobody(&["-u"]).unwrap().parse().unwrap();
    let reported = every_format(&recordings);
    let mut owners = Vec::new();
    for process in processes(&reported) {
        let file = std::fs::symlink_metadata(process["recording"]["file"].as_str().unwrap()).unwrap();
        assert_eq!(file.mode(), libc::S_IFREG | 0o600);
        assert_eq!(process["recording"]["owner"]["uid"], file.uid());
        owners.push(file.uid());
        sums::same(process, &ended.reports[&process["process"]["pid"].as_i64().unwrap()]);
    }
    owners.sort_unstable();
    assert_eq!(owners, [0, uid, uid], "the master, and two workers");
    assert_eq!(reported["processes"][1]["recording"]["owner"]["name"], "nobody");
    let text = report(&recordings, &[]);
    assert_eq!(text.matches("  recorded by user nobody, not by the directory's owner\n").count(), 2, "{text}");
    assert!(!text.contains("MISSING"), "{text}");
}

#[test]
fn a_directory_that_another_user_than_root_makes_is_that_users_own() {
    let Some(uid) = nobody(&["-u"]).filter(|_| is_root()) else {
        return skipped("not root, or there is no user nobody", true);
    };
    let uid: u32 = uid.parse().unwrap();
    let open = Open::new("own");
    for (file, name) in [(testkit::shim(), "shim.so"), (testkit::c_program("epoll_wait"), "program")] {
        testkit::copy(file, open.0.join(name));
    }
    let output = Command::new(open.0.join("program"))
        .env("LD_PRELOAD", open.0.join("shim.so"))
        .env("EPOLLSHIM_RECORD", open.0.join("rec"))
        .env("EPOLLSHIM_REPORT", "none")
        .uid(uid)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", testkit::show(&output));
    let directory = std::fs::metadata(open.0.join("rec")).unwrap();
    assert_eq!((directory.mode() & 0o7777, directory.uid()), (0o700, uid));
    let reported = json(&open.0.join("rec"));
    assert_eq!(reported["processes"][0]["recording"]["owner"]["uid"], uid);
    assert!(!report(&open.0.join("rec"), &[]).contains("recorded by user"), "{reported}");
}

#[test]
fn workers_that_may_not_write_report_it_and_the_master_knows_of_them() {
    let open = Open::new("own-box");
    let recordings = open.0.join("rec");
    let Some(ended) = nginx_of_nobody(&open, Some(0o700)) else { return };
    let reported = every_format(&recordings);
    assert_eq!(processes(&reported).len(), 1);
    let master = &processes(&reported)[0];
    assert_eq!(master["recording"]["children_lost"], 2, "{master}");
    assert_eq!(master["recording"]["children_trouble"], "EACCES");
    let text = report(&recordings, &[]);
    assert!(text.contains("  MISSING: 2 forked processes could not create a recording (EACCES)\n"), "{text}");
    let page = report(&recordings, &["--format", "html"]);
    assert!(page.contains("2 forked processes could not create a recording: EACCES"), "{page}");
    assert_eq!(std::fs::metadata(&recordings).unwrap().mode() & 0o7777, 0o700, "a directory that was there stays");
    for (pid, report) in &ended.reports {
        let is_master = master["process"]["pid"] == *pid;
        let recording = &report["recording"];
        assert_eq!(recording["file"].is_string(), is_master, "{report}");
        assert_eq!(recording["trouble"] == "EACCES", !is_master, "{report}");
        assert_eq!(recording["children_lost"], if is_master { 2 } else { 0 }, "{report}");
    }
}

#[test]
fn a_program_without_a_report_prints_to_stderr_that_its_recording_is_lost() {
    let Some([server]) = installed(["memcached"]) else { return };
    if !is_root() || nobody(&["-u"]).is_none() {
        return skipped("not root, or there is no user nobody: memcached does not change its user", true);
    }
    let dir = testkit::scratch("recorded-lost");
    let recordings = dir.join("rec");
    std::fs::create_dir(&recordings).unwrap();
    std::fs::set_permissions(&recordings, std::fs::Permissions::from_mode(0o700)).unwrap();
    let port = free_port();
    let mut child = Command::new(recorded::command())
        .args(["run", "--exec", "--record", recordings.to_str().unwrap(), "--report", "none", "--"])
        .arg(server)
        .args(["-u", "nobody", "-l", "127.0.0.1", "-U", "0", "-t", "2", "-p", &port.to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() && start.elapsed() < HUNG {
        std::thread::sleep(Duration::from_millis(20));
    }
    // SAFETY: kill accesses no memory. The process is a child of this one that was not yet waited
    // for, so its pid is not reused.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGTERM) }, 0);
    let pid = child.id();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success());
    let wanted = format!(
        "epollshim: EPOLLSHIM_RECORD: cannot write in '{}': EACCES; the recording of process {pid} is lost\n",
        recordings.display()
    );
    assert!(said.ends_with(&wanted), "{said}");
    assert_eq!(said.matches("epollshim:").count(), 1, "{said}");
}
