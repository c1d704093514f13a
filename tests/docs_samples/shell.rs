//! Runs the commands of a sample as they stand, in a shell, and compares what they print.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{binary, copy, root, run, scratch, shim};

use crate::sample::{find, is_real};
use crate::{PYTHON, stacks};

/// A folder in which commands run. The commands find `epollshim` and `python3` in PATH.
pub struct Shell {
    pub folder: PathBuf,
    /// What a document shows, and what it is here.
    replaced: Vec<(String, String)>,
}

impl Shell {
    pub fn new() -> Shell {
        let folder = scratch("shell").join("tour");
        std::fs::create_dir_all(folder.join("bin")).unwrap();
        symlink(binary(), folder.join("bin/epollshim")).unwrap();
        symlink(PYTHON, folder.join("bin/python3")).unwrap();
        let mut shell = Shell { folder, replaced: Vec::new() };
        for folder in ["/usr/lib/epollshim", "/usr/local/lib"] {
            shell.replace(&format!("{folder}/libepollshim.so"), shim().to_str().unwrap());
        }
        shell.replace("/usr/local/share/epollshim", root().join("share").to_str().unwrap());
        shell
    }

    /// Replaces `shown` with `real` in the commands, and `real` with `shown` in their output.
    pub fn replace(&mut self, shown: &str, real: &str) {
        self.replaced.push((shown.to_owned(), real.to_owned()));
    }

    /// Copies a program into the folder.
    pub fn program(&self, name: &str, from: &Path) {
        copy(from, self.folder.join(name));
    }

    /// A file of the folder.
    pub fn file(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).unwrap();
    }

    /// A shell script that stands in for a program which the test does not start.
    pub fn stand_in(&self, name: &str, script: &str) {
        let path = self.folder.join("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// Runs the commands of the sample that begins with `first`, and compares their output. None of
    /// them may be a usage error, and none may be missing.
    pub fn runs(&self, document: &str, first: &str) {
        let printed = self.printed(document, first);
        is_real(document, first, &printed);
    }

    /// What the commands of a sample print, as the document would show it.
    pub fn printed(&self, document: &str, first: &str) -> String {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        let (begin, end) = find(&text, first).unwrap_or_else(|| panic!("{document} has no sample {first}"));
        let lines: Vec<&str> = text.lines().take(end).skip(begin).collect();
        let commands = lines.iter().filter_map(|line| line.trim_start().strip_prefix("$ "));
        let mut printed = self.shell(&commands.collect::<Vec<_>>());
        for (shown, real) in &self.replaced {
            printed = printed.replace(real, shown);
        }
        // Names of stacks differ from build to build.
        for (here, there) in stacks(&printed.clone()).into_iter().zip(stacks(&lines.join("\n"))) {
            printed = printed.replace(here, there);
        }
        printed
    }

    /// What these commands print on both outputs, in this order.
    pub fn shell(&self, commands: &[&str]) -> String {
        let mut script = String::from("exec >.printed 2>&1\n");
        for command in commands {
            let mut command = (*command).to_owned();
            for (shown, real) in &self.replaced {
                command = command.replace(shown, real);
            }
            // The next command sees the status, and `$!`, of this one.
            script += &format!("{command}\n(status=$?; echo $status >>\"$STATUSES\"; exit $status)\n");
        }
        script += "kill $(jobs -p) 2>/dev/null; wait\n";
        let path = format!("{}/bin:/usr/sbin:/usr/bin:/sbin:/bin", self.folder.display());
        let mut bash = Command::new("bash");
        let _ = std::fs::remove_file(self.folder.join(".statuses"));
        run(bash
            .arg("-c")
            .arg(&script)
            .current_dir(&self.folder)
            .env("PATH", path)
            .env("STATUSES", self.folder.join(".statuses")));
        let read = |name: &str| std::fs::read(self.folder.join(name)).unwrap_or_default();
        let printed = String::from_utf8_lossy(&read(".printed")).into_owned();
        let statuses = String::from_utf8(read(".statuses")).unwrap();
        let wrong = |status: &str| ["2", "126", "127"].contains(&status);
        for (status, command) in statuses.lines().zip(commands) {
            assert!(!wrong(status), "status {status}: {command}\n{printed}");
        }
        assert_eq!(statuses.lines().count(), commands.len(), "{script}\n{printed}");
        printed
    }
}
