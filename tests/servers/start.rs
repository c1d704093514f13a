//! How each server is started.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::clients::{self, Client};
use super::{Place, Serving, run};
use crate::programs::{Running, free_port, nginx_directory_at, python};
use testkit::root;
use testkit::{installed, skipped, tokio_echo};

/// A server with a port, and clients that get the port.
fn serving(
    running: Running,
    connect: impl Fn(usize) -> Client + Sync + 'static,
    stop: i32,
    status: &'static [i32],
) -> Option<Serving> {
    Some(Serving { running, needs: Vec::new(), clients: 6, connect: Box::new(connect), stop, status })
}

/// The programs of servers that have a user of their own, which root must start. None: skipped.
fn root_and<const N: usize>(programs: [&str; N]) -> Option<[PathBuf; N]> {
    // SAFETY: geteuid cannot fail and has no arguments.
    if unsafe { libc::geteuid() } != 0 {
        skipped("only root can start servers that have a user of their own", true);
        return None;
    }
    installed(programs)
}

/// A program whose path contains its version: `PATTERN` has a `*` in its place.
fn versioned(pattern: &str) -> Option<PathBuf> {
    let (folder, rest) = pattern.split_once('*').unwrap();
    let (folder, before) = folder.rsplit_once('/').unwrap();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let found =
        names.filter(|name| name.starts_with(before)).map(|name| PathBuf::from(format!("{folder}/{name}{rest}")));
    let found = found.filter(|path| path.is_file()).max();
    if found.is_none() {
        skipped(&format!("{pattern} is not installed"), false);
    }
    found
}

pub fn redis(place: &Place) -> Option<Serving> {
    let [server] = installed(["redis-server"])?;
    let port = free_port();
    serving(redis_at(place, &server, port), move |number| clients::redis(port, number), libc::SIGTERM, &[0])
}

fn redis_at(place: &Place, server: &Path, port: u16) -> Running {
    let (number, data) = (port.to_string(), place.text(""));
    let options = ["--port", &number, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", &data];
    let mut running = place.start(server, &options);
    running.until_listening(port);
    running
}

pub fn nginx(place: &Place) -> Option<Serving> {
    let [server] = root_and(["nginx"])?;
    let port = free_port();
    let dir = PathBuf::from(place.folder("nginx", 0o755));
    let (_, words) = nginx_directory_at(dir, port, "user nobody nogroup;");
    let mut running = place.start(&server, &words.each_ref().map(String::as_str));
    running.until_listening(port);
    let target = |number| if number % 2 == 0 { "/page" } else { "/proxied" }.to_owned();
    serving(running, move |number| clients::http(port, target(number), "a page\n"), libc::SIGQUIT, &[0])
}

pub fn memcached(place: &Place) -> Option<Serving> {
    let [server] = root_and(["memcached"])?;
    let port = free_port();
    let number = port.to_string();
    let mut running = place.start(&server, &["-l", "127.0.0.1", "-p", &number, "-U", "0", "-t", "4", "-u", "nobody"]);
    running.until_listening(port);
    serving(running, move |number| clients::memcached(port, number), libc::SIGTERM, &[0])
}

pub fn node(place: &Place) -> Option<Serving> {
    let [program] = installed(["node"])?;
    let script = root().join("tests/programs/http.js");
    let mut running = place.start(&program, &[script.to_str().unwrap()]);
    let port = running.printed_port();
    serving(running, move |_| clients::http(port, "/page".to_owned(), "GET /page\n"), libc::SIGTERM, &[5])
}

pub fn asyncio(place: &Place) -> Option<Serving> {
    let python = python()?;
    let script = root().join("tests/programs/echo.py");
    let mut running = place.start(&python, &[script.to_str().unwrap()]);
    let port = running.printed_port();
    serving(running, move |_| clients::echo(port), libc::SIGTERM, &[7])
}

pub fn haproxy(place: &Place) -> Option<Serving> {
    let [server] = installed(["haproxy"])?;
    let (port, other) = (free_port(), free_port());
    let text = std::fs::read_to_string(root().join("tests/programs/haproxy.cfg")).unwrap();
    let text = text.replace("127.0.0.1:PORT", &format!("127.0.0.1:{port}"));
    let config = place.write("haproxy.cfg", &text.replace("127.0.0.1:OTHER", &format!("127.0.0.1:{other}")));
    let mut running = place.start(&server, &["-db", "-f", &config]);
    running.until_listening(port);
    let asked = |number| if number % 2 == 0 { ("/hello", "hello") } else { ("/", "proxied") };
    let connect = move |number| clients::http(port, asked(number).0.to_owned(), asked(number).1);
    // haproxy 2.6 sometimes crashes in its soft stop, also without the library.
    serving(running, connect, libc::SIGUSR1, &[0, 128 + libc::SIGSEGV])
}

pub fn tokio(place: &Place) -> Option<Serving> {
    let mut running = place.start(&tokio_echo()?, &[]);
    let port = running.printed_port();
    serving(running, move |_| clients::echo(port), libc::SIGTERM, &[6])
}

pub fn postgres(place: &Place) -> Option<Serving> {
    let [setpriv] = root_and(["setpriv"])?;
    let initdb = versioned("/usr/lib/postgresql/*/bin/initdb")?;
    let (server, port) = (initdb.with_file_name("postgres"), free_port());
    let data = place.folder_of("data", "postgres");
    let as_user = ["--reuid=postgres", "--regid=postgres", "--clear-groups"];
    let [initdb, server] = [&initdb, &server].map(|path| path.to_str().unwrap());
    run(&setpriv, &[&as_user[..], &[initdb, "-D", &data, "-A", "trust", "-U", "postgres", "--no-sync"]].concat());
    let number = port.to_string();
    let words = [server, "-D", &data, "-h", "127.0.0.1", "-p", &number, "-k", &data];
    let mut running = place.start(&setpriv, &[&as_user[..], &words].concat());
    running.until("it takes queries", |running| {
        running.read("stderr").contains("ready to accept connections").then_some(())
    });
    serving(running, move |_| clients::postgres(port), libc::SIGINT, &[0])
}

pub fn apache(place: &Place) -> Option<Serving> {
    let [server] = root_and(["apache2"])?;
    let (port, dir) = (free_port(), place.text("."));
    std::fs::write(PathBuf::from(place.folder("www", 0o755)).join("page"), "a page\n".repeat(1000)).unwrap();
    let config = format!(
        "ServerRoot {dir}\nServerName test\nPidFile {dir}/pid\nDefaultRuntimeDir {dir}\nListen 127.0.0.1:{port}\n\
         LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so\n\
         LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so\n\
         User www-data\nGroup www-data\nErrorLog {dir}/error.log\nDocumentRoot {dir}/www\n\
         <Directory {dir}/www>\nRequire all granted\n</Directory>\n\
         StartServers 2\nThreadsPerChild 8\nThreadLimit 8\nMinSpareThreads 8\nMaxSpareThreads 32\nMaxRequestWorkers 32\n"
    );
    let config = place.write("apache.conf", &config);
    let mut running = place.start(&server, &["-D", "FOREGROUND", "-f", &config]);
    running.until_listening(port);
    serving(running, move |_| clients::http(port, "/page".to_owned(), "a page\n"), libc::SIGWINCH, &[0])
}

pub fn mosquitto(place: &Place) -> Option<Serving> {
    let [server] = root_and(["mosquitto"])?;
    let port = free_port();
    let config = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nuser mosquitto\npersistence false\nlog_dest stderr\n\
         set_tcp_nodelay true\n"
    );
    let config = place.write("mosquitto.conf", &config);
    let mut running = place.start(&server, &["-c", &config]);
    running.until_listening(port);
    serving(running, move |number| clients::mqtt(port, number), libc::SIGTERM, &[0])
}

/// squid, as a proxy of a server in this process.
pub fn squid(place: &Place) -> Option<Serving> {
    let [server] = root_and(["squid"])?;
    let (port, upstream) = (free_port(), upstream());
    let dir = place.folder_of("squid", "proxy");
    let config = format!(
        "http_port 127.0.0.1:{port}\nhttp_access allow all\ncache deny all\ncache_effective_user proxy\n\
         pid_filename {dir}/pid\naccess_log none\ncache_log {dir}/cache.log\ncoredump_dir {dir}\ncache_mem 8 MB\n\
         netdb_filename none\npinger_enable off\nshutdown_lifetime 1 second\nvisible_hostname test\n"
    );
    let config = place.write("squid.conf", &config);
    // The name of the service is part of the names of its shared memory.
    let name = format!("epollshim{}x{port}", std::process::id());
    let mut running = place.start(&server, &["--foreground", "-n", &name, "-f", &config]);
    running.until_listening(port);
    let connect = move |_| clients::http(port, format!("http://127.0.0.1:{upstream}/page"), "a page\n");
    serving(running, connect, libc::SIGTERM, &[0])
}

/// Starts a server with one page, which runs until this process ends. Returns its port.
fn upstream() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = |mut stream: TcpStream| {
        let mut request = Vec::new();
        let mut bytes = [0; 4096];
        while let Ok(length) = stream.read(&mut bytes) {
            request.extend(&bytes[..length]);
            let is_whole = request.ends_with(b"\r\n\r\n");
            if length == 0
                || is_whole && stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\na page\n").is_err()
            {
                return;
            }
            if is_whole {
                request.clear();
            }
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    port
}

pub fn unbound(place: &Place) -> Option<Serving> {
    let [server] = root_and(["unbound"])?;
    let (port, dir) = (free_port(), place.folder_of("unbound", "unbound"));
    let config = format!(
        "server:\ninterface: 127.0.0.1\nport: {port}\ndo-daemonize: no\nuse-syslog: no\nlogfile: \"\"\nusername: unbound\n\
         chroot: \"\"\ndirectory: {dir}\npidfile: {dir}/pid\nnum-threads: 2\naccess-control: 127.0.0.0/8 allow\n\
         local-zone: \"test.\" static\nlocal-data: \"a.test. A 192.0.2.1\"\nremote-control:\ncontrol-enable: no\n"
    );
    let config = place.write("unbound.conf", &config);
    let mut running = place.start(&server, &["-d", "-c", &config]);
    running.until_listening(port);
    serving(running, move |_| clients::dns(port), libc::SIGTERM, &[0])
}

pub fn named(place: &Place) -> Option<Serving> {
    let [server] = root_and(["named"])?;
    let (port, dir) = (free_port(), place.folder_of("named", "bind"));
    let zone = "$TTL 60\n@ SOA a.test. a.test. 1 60 60 60 60\n  NS a.test.\na A 192.0.2.1\n";
    let zone = place.write("test.zone", zone);
    let config = format!(
        "options {{ directory \"{dir}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no;\n\
         pid-file \"{dir}/pid\"; session-keyfile \"{dir}/key\"; dnssec-validation no; }};\ncontrols {{ }};\n\
         zone \"test\" {{ type primary; file \"{zone}\"; }};\n"
    );
    let config = place.write("named.conf", &config);
    let mut running = place.start(&server, &["-g", "-u", "bind", "-n", "2", "-c", &config]);
    let is_up = |text: String| text.lines().any(|line| line.ends_with(" running"));
    running.until("it serves", |running| is_up(running.read("stderr")).then_some(()));
    serving(running, move |_| clients::dns(port), libc::SIGTERM, &[0])
}

/// mariadbd with a thread pool, for which it uses epoll.
pub fn mariadb(place: &Place) -> Option<Serving> {
    let [server, install] = root_and(["mariadbd", "mariadb-install-db"])?;
    let (port, data) = (free_port(), place.folder_of("data", "mysql"));
    let datadir = format!("--datadir={data}");
    let common = ["--no-defaults", "--user=mysql", &datadir, "--innodb-log-file-size=8M"];
    run(&install, &[&common[..], &["--auth-root-authentication-method=normal", "--skip-test-db"]].concat());
    let own = [
        "--bind-address=127.0.0.1".to_owned(),
        format!("--port={port}"),
        format!("--socket={data}/socket"),
        format!("--pid-file={data}/pid"),
        "--thread-handling=pool-of-threads".to_owned(),
    ];
    let mut running = place.start(&server, &[&common[..], &own.each_ref().map(String::as_str)].concat());
    running.until_listening(port);
    serving(running, move |_| clients::mariadb(port), libc::SIGTERM, &[0])
}

pub fn php_fpm(place: &Place) -> Option<Serving> {
    root_and([])?;
    let (server, port) = (versioned("/usr/sbin/php-fpm*")?, free_port());
    let config = format!(
        "[global]\ndaemonize = no\nerror_log = {}\nevents.mechanism = epoll\n[www]\nuser = www-data\ngroup = www-data\n\
         listen = 127.0.0.1:{port}\npm = dynamic\npm.max_children = 4\npm.start_servers = 2\npm.min_spare_servers = 1\n\
         pm.max_spare_servers = 3\n",
        place.text("error.log")
    );
    let (config, script) = (place.write("fpm.conf", &config), place.write("page.php", "hello <?php echo 6 * 7; ?>\n"));
    let mut running = place.start(&server, &["-F", "-y", &config]);
    running.until_listening(port);
    serving(running, move |_| clients::fastcgi(port, script.clone()), libc::SIGQUIT, &[0])
}

pub fn puma(place: &Place) -> Option<Serving> {
    let [server] = installed(["puma"])?;
    let port = free_port();
    let application = "run lambda { |env| [200, { 'Content-Type' => 'text/plain' }, [\"a page\\n\"]] }\n";
    let (application, address) = (place.write("config.ru", application), format!("tcp://127.0.0.1:{port}"));
    let mut running =
        place.start(&server, &["-b", &address, "-w", "2", "-t", "2:4", "-e", "production", "-C", "-", &application]);
    running.until_listening(port);
    // It kills itself with the signal.
    serving(
        running,
        move |_| clients::http(port, "/page".to_owned(), "a page\n"),
        libc::SIGTERM,
        &[128 + libc::SIGTERM],
    )
}

/// celery: tasks that go through redis to two processes and back.
pub fn celery(place: &Place) -> Option<Serving> {
    let [server] = installed(["redis-server"])?;
    let python = Path::new("/usr/bin/python3");
    let has = Command::new(python).args(["-c", "import celery, redis"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        skipped("celery for /usr/bin/python3 is not installed", false);
        return None;
    }
    let port = free_port();
    let redis = redis_at(place, &server, port);
    let dir = place.folder("celery", 0o755);
    let tasks = format!(
        "from celery import Celery\napp = Celery('tasks', broker='redis://127.0.0.1:{port}/0', backend='redis://127.0.0.1:{port}/1')\n\
         @app.task\ndef add(x, y):\n    return x + y\n"
    );
    std::fs::write(Path::new(&dir).join("tasks.py"), tasks).unwrap();
    let asks = "import tasks\nresults = [(n, tasks.add.delay(n, 1)) for n in range(20)]\n\
                print(sum(result.get(timeout=120) == n + 1 for n, result in results))\n";
    std::fs::write(Path::new(&dir).join("asks.py"), asks).unwrap();
    let words = ["-m", "celery", "--workdir", &dir, "-A", "tasks", "worker", "-c", "2", "-l", "info"];
    let mut running = place.start(python, &words);
    running.until("it is ready", |running| running.read("stderr").contains(" ready.").then_some(()));
    let connect = move |_| {
        let mut command = Command::new("/usr/bin/python3");
        command.arg("asks.py").current_dir(&dir);
        clients::program(command, 20, "20\n")
    };
    let mut serving = serving(running, connect, libc::SIGTERM, &[0])?;
    (serving.needs, serving.clients) = (vec![(redis, libc::SIGTERM)], 1);
    Some(serving)
}

/// sshd: logins by key, each of which runs a command.
pub fn sshd(place: &Place) -> Option<Serving> {
    let [sshd, ssh, keygen] = root_and(["sshd", "ssh", "ssh-keygen"])?;
    // The directory to which sshd confines its network child.
    let _ = std::fs::create_dir_all("/run/sshd");
    let [host_key, user_key] = ["host_key", "user_key"].map(|name| place.text(name));
    for key in [&host_key, &user_key] {
        run(&keygen, &["-q", "-t", "ed25519", "-N", "", "-f", key]);
    }
    let port = free_port();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nPidFile none\nAuthorizedKeysFile {user_key}.pub\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
    );
    let config = place.write("sshd.conf", &config);
    let mut running = place.start(&sshd, &["-D", "-e", "-f", &config]);
    running.until_listening(port);
    let hosts = format!("UserKnownHostsFile={}", place.text("known_hosts"));
    let connect = move |_| {
        let mut command = Command::new(&ssh);
        command.args(["-F", "none", "-q", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", &hosts]);
        command.args(["-p", &port.to_string(), "-i", &user_key, "root@127.0.0.1", "echo in"]);
        clients::program(command, 1, "in\n")
    };
    let mut serving = serving(running, connect, libc::SIGTERM, &[0])?;
    serving.clients = 2;
    Some(serving)
}

/// wine: its server, and Windows programs that print a line, also under the library.
pub fn wine(place: &Place) -> Option<Serving> {
    let [wine, server] = ["/usr/lib/wine/wine64", "/usr/lib/wine/wineserver64"].map(Path::new);
    if !wine.exists() || !server.exists() {
        skipped("wine is not installed (Debian: wine, wine64)", false);
        return None;
    }
    let prefix = format!("WINEPREFIX={}", place.folder("wine", 0o700));
    let words = ["-u", "DISPLAY", &prefix, "WINEDEBUG=-all", "WINEDLLOVERRIDES=mscoree,mshtml="].map(str::to_owned);
    let ask = move |options: Vec<(&str, String)>, words: &[String], program: &Path, arguments: &[&str]| {
        let mut command = Command::new("env");
        command.args(words).args(options.iter().map(|(name, value)| format!("{name}={value}")));
        command.arg(program).args(arguments);
        command
    };
    // The services of wine would keep the pipes of the process that starts them open.
    let silent = |options, program: &Path, arguments: &[&str]| {
        let mut command = ask(options, &words, program, arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap()
    };
    // Another wineserver creates the folders, and may have ended by itself.
    assert!(silent(Vec::new(), wine, &["wineboot", "-i"]).success());
    silent(Vec::new(), server, &["-k"]);
    silent(Vec::new(), server, &["-w"]);
    let arguments: Vec<&str> = words.iter().map(String::as_str).chain([server.to_str().unwrap(), "-f", "-p"]).collect();
    let running = place.start(Path::new("/usr/bin/env"), &arguments);
    assert!(silent(place.options(), wine, &["wineboot"]).success());
    let options = place.options();
    let connect = move |_| {
        let command = ask(options.clone(), &words, wine, &["cmd", "/c", "echo in"]);
        clients::program(command, 1, "in\r\n")
    };
    // This ends all programs, also the services of wine.
    let mut serving = serving(running, connect, libc::SIGINT, &[0, 1])?;
    serving.clients = 2;
    Some(serving)
}
