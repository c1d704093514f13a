//! JUnit's XML: suites of test cases, as CI servers read them (Jenkins' junit-10.xsd).
//!
//! Not written by the crate quick-junit, because its version 0.8.0 always writes an attribute
//! `skipped` on `<testsuites>`. That schema does not allow it.

use std::io::{self, Write};

use crate::markup::escaped;

pub struct Suite {
    pub name: String,
    /// Seconds.
    pub time: f64,
    pub cases: Vec<Case>,
}

pub struct Case {
    pub name: String,
    /// Seconds.
    pub time: f64,
    pub outcome: Outcome,
    /// Lines.
    pub text: String,
}

pub enum Outcome {
    Passed,
    /// The reason.
    Skipped(String),
    /// Type and message.
    Failed(String, String),
    Error(String, String),
}

/// Writes the complete file.
pub fn write(suites: &[Suite], out: &mut dyn Write) -> io::Result<()> {
    let sum = |count: fn(&Suite) -> usize| suites.iter().map(count).sum::<usize>();
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(
        out,
        r#"<testsuites name="epollshim" tests="{}" failures="{}" errors="{}">"#,
        sum(|suite| suite.cases.len()),
        sum(Suite::failures),
        sum(Suite::errors),
    )?;
    suites.iter().try_for_each(|suite| suite.write(out))?;
    writeln!(out, "</testsuites>")
}

impl Suite {
    fn failures(&self) -> usize {
        self.cases.iter().filter(|case| matches!(case.outcome, Outcome::Failed(..))).count()
    }

    fn errors(&self) -> usize {
        self.cases.iter().filter(|case| matches!(case.outcome, Outcome::Error(..))).count()
    }

    fn skipped(&self) -> usize {
        self.cases.iter().filter(|case| matches!(case.outcome, Outcome::Skipped(_))).count()
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let name = escaped(&self.name);
        writeln!(
            out,
            r#"  <testsuite name="{name}" tests="{}" failures="{}" errors="{}" skipped="{}" time="{:.3}">"#,
            self.cases.len(),
            self.failures(),
            self.errors(),
            self.skipped(),
            self.time,
        )?;
        self.cases.iter().try_for_each(|case| case.write(&name, out))?;
        writeln!(out, "  </testsuite>")
    }
}

impl Case {
    fn write(&self, suite: &str, out: &mut dyn Write) -> io::Result<()> {
        let (name, time) = (escaped(&self.name), (self.time * 1000.0).round() / 1000.0);
        write!(out, r#"    <testcase classname="{suite}" name="{name}" time="{time}""#)?;
        let (element, attributes) = match &self.outcome {
            Outcome::Passed if self.text.is_empty() => return writeln!(out, "/>"),
            Outcome::Passed => ("system-out", String::new()),
            Outcome::Skipped(why) => {
                return writeln!(out, ">\n      <skipped message=\"{}\"/>\n    </testcase>", escaped(why));
            }
            Outcome::Failed(kind, message) => ("failure", of(kind, message)),
            Outcome::Error(kind, message) => ("error", of(kind, message)),
        };
        writeln!(out, ">\n      <{element}{attributes}>")?;
        self.text.lines().try_for_each(|line| writeln!(out, "{}", escaped(line)))?;
        writeln!(out, "      </{element}>\n    </testcase>")
    }
}

fn of(kind: &str, message: &str) -> String {
    format!(r#" type="{}" message="{}""#, escaped(kind), escaped(message))
}
