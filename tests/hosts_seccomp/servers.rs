//! Debian's sshd, chronyd and tor, which sandbox themselves: their results and exit statuses must
//! be the same as bare. Each has a directory, sockets, keys and a configuration of its own. They
//! listen on loopback only, and no clock is set.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use testkit::modes::{MODES, Mode};
use testkit::{free_port, installed, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// Where the programs are. None: the test cannot run, and prints why.
fn root_and<const N: usize>(programs: [&str; N]) -> Option<[PathBuf; N]> {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        testkit::skipped("only root can start servers that drop root", true);
        return None;
    }
    installed(programs)
}

/// A directory that a server's own user can reach. Its name is short because addresses of sockets
/// are. It is removed at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("epollshim-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Place(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn show(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.file(name)).unwrap_or_default()).into_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server that is ended with its test.
struct Server(Child);

impl Server {
    /// Its messages go to the files `out` and `err` of its directory.
    fn start(command: &mut Command, mode: Option<Mode>, place: &Place) -> Server {
        if let Some(mode) = mode {
            mode.preload(command, &place.0);
        }
        let file = |name| std::fs::File::create(place.file(name)).unwrap();
        Server(command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err")).spawn().unwrap())
    }

    fn terminate(self) -> ExitStatus {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        self.end()
    }

    fn end(mut self) -> ExitStatus {
        until("the server ends", || self.0.try_wait().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap()
}

fn lines(output: &Output, count: usize) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let first: Vec<&str> = text.lines().take(count).collect();
    format!("{} {first:?}", output.status)
}

/// Runs a server bare and in both modes. What `serve` returns must be the same.
fn same_in_all_modes(serve: impl Fn(Option<Mode>) -> String) {
    let bare = serve(None);
    for mode in MODES {
        assert_eq!(serve(Some(mode)), bare, "{mode:?}");
    }
}

#[test]
fn a_login_by_key_and_a_copy_work_through_sshd() {
    let Some([sshd, ssh, keygen]) = root_and(["sshd", "ssh", "ssh-keygen"]) else { return };
    // The directory to which sshd confines its network child.
    let _ = std::fs::create_dir_all("/run/sshd");
    same_in_all_modes(|mode| {
        let place = Place::new("sshd");
        for key in ["host_key", "user_key"] {
            let made = output(Command::new(&keygen).args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(place.file(key)));
            assert!(made.status.success(), "{made:?}");
        }
        let port = free_port();
        let configuration = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\nAuthorizedKeysFile {}\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n",
            place.show("host_key"),
            place.show("user_key.pub"),
        );
        std::fs::write(place.file("conf"), configuration).unwrap();
        let mut sshd = Command::new(&sshd);
        let server = Server::start(sshd.args(["-D", "-e", "-f"]).arg(place.file("conf")), mode, &place);
        until("sshd takes connections", || TcpStream::connect(("127.0.0.1", port)).ok());
        let by_ssh = |words: &str, stdin: Stdio| {
            let mut command = Command::new(&ssh);
            command.args([
                "-F",
                "none",
                "-q",
                "-o",
                "BatchMode=yes",
                "-o",
                "StrictHostKeyChecking=no",
                "-p",
                &port.to_string(),
            ]);
            command.arg("-o").arg(format!("UserKnownHostsFile={}", place.show("known_hosts")));
            command.arg("-i").arg(place.file("user_key")).arg("root@127.0.0.1").arg(words).stdin(stdin);
            output(&mut command)
        };
        let login = by_ssh("echo in; exit 7", Stdio::null());
        let bytes: Vec<u8> = (0..20_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        std::fs::write(place.file("sent"), &bytes).unwrap();
        let sent = std::fs::File::open(place.file("sent")).unwrap();
        let copy = by_ssh(&format!("cat > {}", place.show("received")), sent.into());
        let is_same = std::fs::read(place.file("received")).is_ok_and(|received| received == bytes);
        let log = place.text("err");
        let status = server.terminate();
        assert!(!log.contains("terminated by signal"), "{mode:?}: {log}");
        let answers = format!("login {}, copy {} the same: {is_same}, sshd {status}", lines(&login, 9), copy.status);
        if mode.is_none() {
            assert!(
                answers.starts_with("login exit status: 7 [\"in\"], copy exit status: 0 the same: true"),
                "{answers}\n{log}"
            );
        }
        answers
    });
}

#[test]
fn chronyd_serves_and_ends_in_its_sandbox() {
    let Some([chronyd, chronyc]) = root_and(["chronyd", "chronyc"]) else { return };
    same_in_all_modes(|mode| {
        let place = Place::new("chronyd");
        let run = place.file("run");
        std::fs::create_dir(&run).unwrap();
        std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o770)).unwrap();
        assert!(Command::new("chown").arg("_chrony:_chrony").arg(&run).status().unwrap().success());
        let configuration = format!(
            "port {}\nbindaddress 127.0.0.1\nallow 127.0.0.1\ncmdport 0\nbindcmdaddress {}\npidfile {}\nlocal stratum 10\n\
             user _chrony\n",
            free_port(),
            place.show("run/socket"),
            place.show("run/pid"),
        );
        std::fs::write(place.file("conf"), configuration).unwrap();
        // -x: it does not touch the clock. -F 1: the filter kills.
        let mut chronyd = Command::new(&chronyd);
        let server = Server::start(chronyd.args(["-F", "1", "-x", "-d", "-f"]).arg(place.file("conf")), mode, &place);
        until("chronyd has its socket", || place.file("run/socket").exists().then_some(()));
        let ask = |what: &str| output(Command::new(&chronyc).arg("-h").arg(place.file("run/socket")).arg(what));
        let tracking = until("chronyd answers", || Some(ask("tracking")).filter(|answers| answers.status.success()));
        let answers = format!("{} {} ", lines(&tracking, 2), lines(&ask("activity"), 2));
        let status = server.terminate();
        let log = place.text("err");
        assert!(log.contains("Loaded seccomp filter (level 1)") && log.contains("chronyd exiting"), "{mode:?}: {log}");
        assert!(mode.is_some() || status.success(), "{status}: {log}");
        format!("{answers}{status}")
    });
}

/// tor is ended through its control socket. (A signal reaches it only if the signal mask of its
/// main thread is intact. But its own filter refuses what pthread_create asks for, and glibc then
/// restores a mask that was never read.)
#[test]
fn tor_runs_and_ends_in_its_sandbox() {
    let Some([tor]) = root_and(["tor"]) else { return };
    same_in_all_modes(|mode| {
        // tor itself crashes now and then, also bare (1 of 25), if it is ended while its threads
        // are starting.
        let mut ends = (0..3).map(|_| one_life_of_tor(&tor, mode));
        ends.find(|(status, _)| status.signal() != Some(11))
            .map(|(status, answers)| format!("{status} {answers}"))
            .expect("one of three lives ends as it should")
    });
}

fn one_life_of_tor(tor: &Path, mode: Option<Mode>) -> (ExitStatus, String) {
    let place = Place::new("tor");
    let data = place.file("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
    let configuration = format!(
        "DataDirectory {}\nSandbox 1\nDisableNetwork 1\nSocksPort 0\nControlSocket {}\nRunAsDaemon 0\nLog notice file {}\n",
        data.display(),
        place.show("data/control"),
        place.show("log"),
    );
    std::fs::write(place.file("conf"), configuration).unwrap();
    let mut command = Command::new(tor);
    command.args(["--defaults-torrc", "/dev/null", "--hush", "-f"]).arg(place.file("conf"));
    let server = Server::start(&mut command, mode, &place);
    let mut control = until("tor takes commands", || UnixStream::connect(data.join("control")).ok());
    until("tor has started", || place.text("log").contains("Delaying directory fetches").then_some(()));
    std::thread::sleep(Duration::from_millis(500));
    control.set_read_timeout(Some(PATIENCE)).unwrap();
    control.write_all(b"AUTHENTICATE\r\nGETINFO config/names config-file\r\nSIGNAL SHUTDOWN\r\n").unwrap();
    let mut answer = String::new();
    control.read_to_string(&mut answer).unwrap();
    let status = server.end();
    let log = place.text("log");
    assert!(!log.contains("[err]"), "{mode:?}: {log}");
    assert!(answer.starts_with("250 OK"), "{mode:?}: {answer}");
    (status, format!("{} lines, {:?}", answer.lines().count(), answer.lines().last()))
}
