//! Evaluates and checks the flags of `epollshim sweep` before anything starts.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use epollshim_format::function::Functions;
use epollshim_format::{options, signal};
use regex::bytes::Regex;

use super::failures::Choice;
use super::mask::Masks;
use super::only;
use super::spec::{Ready, Server};
use super::trial::Trial;
use crate::args::Sweep;
use crate::program;
use crate::run::shim;
use crate::text::{printable, reason, shown};
use crate::{Failure, take};

pub struct Settled {
    pub command: Vec<OsString>,
    /// The environment of the program without the library.
    pub plain: Vec<(OsString, OsString)>,
    /// The environment with the library.
    pub preloaded: Vec<(OsString, OsString)>,
    /// None: without the library.
    pub library: Option<PathBuf>,
    pub server: Option<Server>,
    pub input: Option<PathBuf>,
    pub directory: Option<PathBuf>,
    pub masks: Masks,
    pub debug: Vec<PathBuf>,
    pub choice: Choice,
    /// The trial of `--only`, and its functions.
    pub only: Option<(Trial, Functions)>,
}

impl Settled {
    pub fn of(asked: &Sweep) -> Result<Settled, Failure> {
        let mut plain: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        // Options in the environment do not apply to a sweep.
        let is_kept =
            |name: &OsStr| name == "EPOLLSHIM_ONLY" || !name.as_encoded_bytes().starts_with(options::PREFIX.as_bytes());
        plain.retain(|(name, _)| is_kept(name));
        let absolute = |path: &Path, flag: &str| {
            path.canonicalize().map_err(|error| Failure::usage(format!("{flag}: {}: {}", shown(path), reason(&error))))
        };
        let masks = Masks::new(&asked.mask)
            .map_err(|text| Failure::usage(format!("--mask: not a regular expression: {}", printable(&text))))?;
        let server = server(asked)?;
        let input = asked.input.as_deref().map(|path| readable(absolute(path, "--input")?)).transpose()?;
        let directory = asked.dir.as_deref().map(|path| absolute(path, "--dir")).transpose()?;
        let choice = Choice::of(asked)?;
        let only = asked.only.as_deref().map(|rule| only::parse(rule, asked.workload.is_some())).transpose()?;
        let command = command(&asked.command)?;
        let mut preloaded = plain.clone();
        let library = if asked.limits { None } else { Some(shim::find(asked.shim.as_deref())?) };
        if let Some(library) = &library {
            let old = take(&mut preloaded, "LD_PRELOAD");
            preloaded.push(("LD_PRELOAD".into(), shim::preload(library, old.as_deref())));
            let old = take(&mut preloaded, "ASAN_OPTIONS");
            preloaded.push(("ASAN_OPTIONS".into(), shim::asan_options(old.as_deref())));
        }
        let debug = asked.debug.clone();
        Ok(Settled { command, plain, preloaded, library, server, input, directory, masks, debug, choice, only })
    }
}

/// Checks a file for the standard input of the program.
fn readable(path: PathBuf) -> Result<PathBuf, Failure> {
    let wrong = |why: &str| Failure::usage(format!("--input: {}: {why}", shown(&path)));
    // The contents of a pipe are available to one run only.
    if !path.is_file() && path != Path::new("/dev/null") {
        return Err(wrong("not a file"));
    }
    match std::fs::File::open(&path) {
        Ok(_) => Ok(path),
        Err(error) => Err(wrong(&reason(&error))),
    }
}

/// The command, resolved so that it is found from another working directory too.
fn command(words: &[OsString]) -> Result<Vec<OsString>, Failure> {
    let mut words = words.to_vec();
    if let Some(first) = words.first_mut() {
        let found = program::find(&*first).filter(|path| path.is_file());
        let Some(path) = found else { return Err(Failure::usage(format!("{}: no such program", shown(&*first)))) };
        let path = std::path::absolute(&path)
            .map_err(|error| Failure::usage(format!("{}: {}", shown(&path), reason(&error))))?;
        if !crate::sys::may_execute(&path) {
            return Err(Failure::usage(format!("{}: not executable", shown(&*first))));
        }
        *first = path.into_os_string();
    }
    Ok(words)
}

fn server(asked: &Sweep) -> Result<Option<Server>, Failure> {
    let Some(workload) = asked.workload.clone() else { return Ok(None) };
    let wrong = |text: &str| Err(Failure::usage(format!("--ready-when: {}", printable(text))));
    let ready = match asked.ready_when.as_deref().map(|text| (text, text.split_once(' '))) {
        None if asked.share_network => {
            return wrong("required with --share-network, where other programs listen too");
        }
        None => Ready::Listens,
        Some((_, Some(("port", port)))) => match port.trim().parse() {
            Ok(port) => Ready::Port(port),
            Err(_) => return wrong(&format!("'{port}' is not a port; expected a number from 0 to 65535")),
        },
        Some((_, Some(("line", line)))) => match Regex::new(line) {
            Ok(_) => Ready::Line(line.to_owned()),
            Err(_) => return wrong(&format!("not a regular expression: {line}")),
        },
        Some((text, _)) => return wrong(&format!("unknown condition '{text}'; expected 'port N' or 'line REGEX'")),
    };
    match signal::number(asked.stop_with.as_bytes()) {
        Some(stop) => Ok(Some(Server { ready, workload, stop: i32::from(stop) })),
        None => Err(Failure::usage(format!(
            "--stop-with: unknown signal {}; expected a name such as TERM, or a number",
            printable(&asked.stop_with)
        ))),
    }
}
