//! `report DIR|FILE [--format NAME] [-o FILE] [--debug DIR]`: what `epollshim report` does.

use std::io::{BufWriter, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use epollshim_recording::{Format, Options, load_with, render, write_file};

fn main() -> ExitCode {
    let (mut path, mut format, mut file, mut options) = (None, Format::Text, None, Options::default());
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--format") => match arguments.next().and_then(|name| Format::named(name.to_str()?)) {
                Some(named) => format = named,
                None => return usage(),
            },
            Some("-o") => file = arguments.next().map(PathBuf::from),
            Some("--debug") => options.debug.extend(arguments.next().map(PathBuf::from)),
            _ => path = Some(PathBuf::from(argument)),
        }
    }
    let Some(path) = path else { return usage() };
    match report(&path, format, file.as_deref(), &options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("report: {error}");
            ExitCode::from(2)
        }
    }
}

fn report(
    path: &Path,
    format: Format,
    file: Option<&Path>,
    options: &Options,
) -> Result<(), Box<dyn std::error::Error>> {
    let set = load_with(path, options)?;
    match file {
        Some(file) => write_file(&set, format, file)?,
        None => {
            let mut out = BufWriter::new(stdout().lock());
            render(&set, format, &mut out)?;
            out.flush()?;
        }
    }
    Ok(())
}

fn usage() -> ExitCode {
    eprintln!("usage: report DIR|FILE [--format text|json|html|perfetto|prometheus|junit] [-o FILE] [--debug DIR]");
    ExitCode::from(2)
}
