//! Runs the commands of a document as a reader does, who pastes a block of them into bash.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use testkit::{binary, root, scratch};

/// The commands of a block of lines indented by four: the block with a line that begins with
/// `first`. If commands are marked by `$ `, the other lines are output.
pub fn commands(document: &str, first: &str) -> String {
    let text = std::fs::read_to_string(root().join(document)).unwrap();
    let is_first = |line: &&str| line.strip_prefix("    ").is_some_and(|line| line.starts_with(first));
    let lines = text.lines().skip_while(|line| !is_first(line));
    let block: Vec<&str> = lines.map_while(|line| line.strip_prefix("    ")).collect();
    assert!(!block.is_empty(), "{document} has no commands that begin with {first}");
    let marked: Vec<&str> = block.iter().filter_map(|line| line.strip_prefix("$ ")).collect();
    (if marked.is_empty() { block } else { marked }).join("\n")
}

/// A reader with a copy of examples/ that uses another port than 7000.
pub struct Reader {
    folder: PathBuf,
    port: u16,
}

impl Reader {
    pub fn new(port: u16) -> Reader {
        let folder = scratch("reader");
        let copied = Command::new("cp").arg("-r").arg(root().join("examples")).arg(&folder).status().unwrap();
        assert!(copied.success());
        let programs = folder.join("bin");
        std::fs::create_dir(&programs).unwrap();
        symlink(binary(), programs.join("epollshim")).unwrap();
        symlink(super::PYTHON, programs.join("python3")).unwrap();
        let reader = Reader { folder, port };
        for name in ["guide/stuck.py", "guide/nginx.conf"] {
            let file = reader.folder.join("examples").join(name);
            let text = std::fs::read_to_string(&file).unwrap();
            std::fs::write(&file, reader.with_port(&text)).unwrap();
        }
        reader
    }

    fn with_port(&self, text: &str) -> String {
        text.replace("7000", &self.port.to_string())
    }

    /// What the commands print until all processes have ended. `sleep` waits until the port is
    /// listened on, because a second is too short on a loaded machine.
    pub fn pastes(&self, commands: &str) -> String {
        let listening = format!(":{:04X} 00000000:0000 0A", self.port);
        let script = format!(
            "exec 2>&1\nsleep() {{ until grep -q '{listening}' /proc/net/tcp; do command sleep 0.05; done; }}\n{}\nwait\n",
            self.with_port(commands)
        );
        let mut command = Command::new("timeout");
        command.args(["--kill-after=10", "300", "bash", "-c", &script]).current_dir(self.folder.join("examples"));
        command.env("PATH", format!("{}:/usr/bin:/bin", self.folder.join("bin").display()));
        let output = command.stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).replace(&self.port.to_string(), "7000")
    }
}
