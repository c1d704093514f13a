//! The samples of docs/tour-sweep.md.

use testkit::{compile, free_port, have, root};

use super::changed;
use super::shell::Shell;
use crate::sample::{find, is_real};
use crate::{has_python, stacks};

const PAGE: &str = "docs/tour-sweep.md";

/// The folder of the tour, with its programs.
fn tour() -> Shell {
    let mut shell = Shell::new();
    let source = root().join("examples/tour/save.c");
    shell.program("save", &compile::program("cc", &["-g"], &source, &[]).unwrap());
    shell.file("text", "one\ntwo\n");
    let folder = shell.folder.to_str().unwrap().to_owned();
    shell.replace("/tmp/tour", &folder);
    let port = free_port().to_string();
    shell.replace("7000", &port);
    for name in ["echo.py", "pages.py", "talk"] {
        let text = std::fs::read_to_string(root().join("examples/tour").join(name)).unwrap();
        shell.file(name, &text.replace("7000", &port));
    }
    shell
}

#[test]
fn a_find_is_repeated_in_a_debugger_and_then_accepted() {
    let mut shell = tour();
    let swept = shell.shell(&["epollshim sweep --input text --write-accept accepted -- ./save"]);
    let text = std::fs::read_to_string(root().join(PAGE)).unwrap();
    for (shown, real) in stacks(&text).into_iter().zip(stacks(&swept)) {
        shell.replace(shown, real);
    }
    if have("gdb") {
        shell.runs(PAGE, "$ epollshim run --inject fopen:error=EMFILE");
    }
    // The entry that the page shows is one of those that were written.
    let entry = "lost-output:^fopen EMFILE remember$";
    let written = std::fs::read_to_string(shell.folder.join("accepted")).unwrap();
    assert!(written.lines().any(|line| line == entry), "{written}");
    shell.file("accepted", &format!("# The history is a convenience, which nothing reads.\n{entry}\n"));
    is_real(PAGE, "# The history is", &std::fs::read_to_string(shell.folder.join("accepted")).unwrap());
    // Fixed as the page says.
    let source = std::fs::read_to_string(root().join("examples/tour/save.c")).unwrap();
    let open = "    FILE *file = fopen(\"lines\", \"w\");\n";
    let check = "    if (file == NULL) {\n        perror(\"lines\");\n        exit(1);\n    }\n";
    let fixed = source.replace(open, &format!("{open}{check}"));
    let fixed = fixed.replace("#include <stdio.h>\n", "#include <stdio.h>\n#include <stdlib.h>\n");
    std::fs::remove_file(shell.folder.join("save")).unwrap();
    shell.program("save", &changed("tour/save.c", &fixed));
    shell.runs(PAGE, "$ epollshim sweep --input text --accept accepted -- ./save");
    shell.runs(PAGE, "$ epollshim sweep --input text --accept accepted --format junit");
}

#[test]
fn the_job_for_gitlab_runs_the_commands_of_the_page() {
    let text = std::fs::read_to_string(root().join(PAGE)).unwrap();
    let (begin, end) = find(&text, "sweep:").unwrap();
    let job: Vec<&str> = text.lines().take(end).skip(begin).map(|line| &line[4..]).collect();
    let shell = Shell::new();
    shell.file("job.yml", &job.join("\n"));
    let script = "import yaml; print('\\n'.join(yaml.safe_load(open('job.yml'))['sweep']['script']))";
    let printed = shell.shell(&[&format!("python3 -c \"{script}\"")]);
    assert_eq!(printed.lines().count(), 2, "{printed}");
    for command in printed.lines() {
        assert!(text.contains(&format!("\n    $ {command}\n")), "{command}");
    }
}

#[test]
fn the_examples_are_copied_from_where_they_are_installed() {
    let mut shell = Shell::new();
    let installed = shell.folder.join("share/epollshim");
    std::fs::create_dir_all(&installed).unwrap();
    std::os::unix::fs::symlink(root().join("examples"), installed.join("examples")).unwrap();
    let copies = shell.folder.join("copies");
    std::fs::create_dir(&copies).unwrap();
    shell.replace("/tmp", copies.to_str().unwrap());
    shell.runs(PAGE, "$ cp -r $(dirname");
    shell.runs("docs/packages.md", "$ cp -r $(dirname");
    assert!(copies.join("tour/save.c").exists());
}

#[test]
fn a_server_with_a_workload_is_swept() {
    if has_python() {
        tour().runs(PAGE, "$ epollshim sweep --workload");
    }
}

#[test]
fn a_program_in_python_is_swept() {
    if has_python() {
        tour().runs(PAGE, "$ epollshim sweep -- python3 $PWD/pages.py");
    }
}
