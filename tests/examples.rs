//! The examples for containers, systemd and Kubernetes name options, files and places that exist.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use epollshim_format::options::NAMES;
use testkit::{root, scratch, shim, show, skipped};

/// Where packages put the library (scripts/dist).
const LIBRARY: &str = "/usr/lib/epollshim/libepollshim.so";

fn example(name: &str) -> String {
    fs::read_to_string(root().join("examples").join(name)).unwrap()
}

const ALL: [&str; 4] = [
    "containers/Containerfile.build",
    "containers/Containerfile.base",
    "systemd/epollshim.conf",
    "kubernetes/redis.yaml",
];

#[test]
fn each_option_in_an_example_exists() {
    let mut seen = 0;
    for name in ALL {
        let text = example(name);
        for word in
            text.split(|c: char| c != '_' && !c.is_ascii_uppercase()).filter(|word| word.starts_with("EPOLLSHIM_"))
        {
            assert!(NAMES.contains(&word), "{name}: {word}");
            seen += 1;
        }
    }
    assert!(seen >= 8, "{seen} options");
}

/// The environment that an example gives to a program.
fn environment(name: &str) -> BTreeMap<String, String> {
    let text = example(name);
    let pairs: Vec<(String, String)> = match name {
        "systemd/epollshim.conf" => {
            let lines = text.lines().filter_map(|line| line.strip_prefix("Environment="));
            lines.map(|line| line.split_once('=').unwrap()).map(|(name, value)| (name.into(), value.into())).collect()
        }
        "containers/Containerfile.base" => {
            let words = text.split("\nENV ").nth(1).unwrap().replace("\\\n", " ");
            let words = words.split_whitespace().map(|word| word.split_once('=').unwrap());
            words.map(|(name, value)| (name.into(), value.into())).collect()
        }
        _ => {
            let value =
                |text: &str| text.split_once("value: ").unwrap().1.lines().next().unwrap().trim_matches('"').to_owned();
            let entries = text.split("- name: ").skip(1).filter(|entry| entry.contains("\n          value: "));
            entries.map(|entry| (entry.lines().next().unwrap().to_owned(), value(entry))).collect()
        }
    };
    pairs.into_iter().collect()
}

#[test]
fn the_command_accepts_the_options_of_each_example() {
    for (name, library) in [
        ("systemd/epollshim.conf", LIBRARY),
        ("containers/Containerfile.base", LIBRARY),
        ("kubernetes/redis.yaml", "/epollshim/libepollshim.so"),
    ] {
        let mut environment = environment(name);
        assert_eq!(environment.remove("LD_PRELOAD").as_deref(), Some(library), "{name}");
        assert!(environment.len() >= 2, "{name}: {environment:?}");
        // With this variable, a bad option would not be an error.
        environment.remove("EPOLLSHIM_ON_BAD_CONFIG");
        let place = scratch("recordings");
        if environment.contains_key("EPOLLSHIM_RECORD") {
            environment.insert("EPOLLSHIM_RECORD".to_owned(), place.to_str().unwrap().to_owned());
        }
        let mut command = Command::new(shim().with_file_name("epollshim"));
        let ran = command.envs(&environment).args(["run", "--exec", "--quiet", "--", "true"]).output().unwrap();
        assert!(ran.status.success(), "{name}: {}", show(&ran));
    }
}

#[test]
fn packages_put_the_library_where_the_examples_look() {
    let script = fs::read_to_string(root().join("scripts/dist")).unwrap();
    assert!(script.contains("LIBDIR=/usr/lib/epollshim PKGCONFIGDIR=/usr/share/pkgconfig install_into \"$1\" /usr"));
    // The files that the containers take from the tarball, and where they put them.
    let base = example("containers/Containerfile.base");
    assert!(base.contains("/unpacked/*/bin/epollshim /usr/bin/epollshim\n"), "{base}");
    assert!(base.contains(&format!("/unpacked/*/lib/libepollshim.so {LIBRARY}\n")), "{base}");
    assert!(script.contains("name=epollshim-$version-x86_64-linux\n"), "the tarball's name");
    // The files that the pod takes from that image.
    let pod = example("kubernetes/redis.yaml");
    assert!(pod.contains(&format!("command: [cp, {LIBRARY}, /usr/bin/epollshim, /epollshim/]")), "{pod}");
    assert!(example("systemd/epollshim.conf").contains(LIBRARY));
    let readers = fs::read_to_string(root().join("examples/kubernetes/redis.yaml")).unwrap();
    assert!(readers.contains(&format!("image: registry.example/epollshim:{}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn the_build_in_a_container_has_the_rust_that_is_needed() {
    let build = example("containers/Containerfile.build");
    let needed = env!("CARGO_PKG_RUST_VERSION");
    assert!(build.contains(&format!("rust:{needed}-")), "{build}");
}

#[test]
fn the_pod_is_whole() {
    // Each volume is mounted, and the library is in the volume that the init container fills.
    let program = r#"
import sys, yaml
pod = yaml.safe_load(open(sys.argv[1]))
assert (pod["apiVersion"], pod["kind"]) == ("v1", "Pod")
spec = pod["spec"]
volumes = {volume["name"]: volume for volume in spec["volumes"]}
mounts = lambda container: {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
[init], [app] = spec["initContainers"], spec["containers"]
assert set(mounts(init).values()) | set(mounts(app).values()) == set(volumes)
variables = {variable["name"]: variable["value"] for variable in app["env"]}
assert all(isinstance(value, str) for value in variables.values()), variables
target = init["command"][-1].rstrip("/")
assert mounts(init)[target] == mounts(app)[target]
assert variables["LD_PRELOAD"] == target + "/" + init["command"][1].split("/")[-1]
assert variables["EPOLLSHIM_RECORD"] in mounts(app)
assert all("emptyDir" in volume for volume in volumes.values())
"#;
    // Debian's python3, which finds Debian's packages.
    let mut python = Command::new("/usr/bin/python3");
    let has = python.args(["-c", "import yaml"]).output().is_ok_and(|output| output.status.success());
    if !has {
        return skipped("python3-yaml is not installed", false);
    }
    let pod = root().join("examples/kubernetes/redis.yaml");
    let output = Command::new("/usr/bin/python3").args(["-c", program]).arg(pod).output().unwrap();
    assert!(output.status.success(), "{}", show(&output));
}

#[test]
fn systemd_accepts_the_drop_in() {
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        return skipped("systemd-analyze is not installed", false);
    };
    assert!(version.status.success());
    let verify = |drop_in: &str| {
        let units = scratch("units");
        let folder = units.join("redis-server.service.d");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("epollshim.conf"), drop_in).unwrap();
        fs::write(units.join("redis-server.service"), "[Service]\nExecStart=/bin/true\n").unwrap();
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--man=no"]).arg(units.join("redis-server.service"));
        // Messages about other units of this machine are ignored.
        let output = command.env("SYSTEMD_UNIT_PATH", format!("{}:", units.display())).output().unwrap();
        let messages = String::from_utf8_lossy(&output.stderr).into_owned();
        messages.lines().filter(|line| line.contains("epollshim.conf")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(verify(&example("systemd/epollshim.conf")), [""; 0]);
    // systemd-analyze reports a drop-in that it does not accept.
    assert_eq!(verify("[Service]\nEnvironmnt=A=b\n").len(), 1);
}

/// Checks the files of the sweeps only, because `make sweeps` takes minutes.
#[test]
fn each_sweep_has_a_workload_and_is_made() {
    let script = fs::read_to_string(root().join("scripts/sweeps")).unwrap();
    let made = script.lines().find_map(|line| line.strip_prefix("ORDER = \"")?.split('"').next());
    let mut made: Vec<&str> = made.unwrap().split(' ').collect();
    made.sort_unstable();
    let folders = fs::read_dir(root().join("examples/sweeps")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut folders: Vec<String> = folders.map(|name| name.into_string().unwrap()).collect();
    folders.sort_unstable();
    assert_eq!(made, folders);
    for name in folders {
        for file in ["sweep", "workload"] {
            let path = root().join("examples/sweeps").join(&name).join(file);
            let checked = Command::new("bash").arg("-n").arg(&path).output().unwrap();
            assert!(checked.status.success(), "{name}/{file}: {}", show(&checked));
        }
        let sweep = example(&format!("sweeps/{name}/sweep"));
        assert!(sweep.contains("\n# needs: ") && sweep.contains("\"$@\""), "{name}");
        // Each entry is a pattern, and below it the reason.
        for entry in example(&format!("sweeps/{name}/reasons")).split("\n\n") {
            let lines: Vec<&str> = entry.trim().lines().filter(|line| !line.starts_with('#')).collect();
            let is_said = |line: &&str| line.starts_with("bug: ") || line.starts_with("accepted: ");
            assert!(lines.is_empty() || lines.get(1).is_some_and(is_said), "{name}: {entry}");
        }
    }
}
