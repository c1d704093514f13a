//! The values of `--fail-on`.

use epollshim_format::findings::{Finding, Id, Severity};
use epollshim_format::suggest::nearest;

/// What `--fail-on` names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailOn {
    /// A kind of finding, of this severity or a higher one.
    Id(Id, Severity),
    /// All of this severity or a higher one.
    Severity(Severity),
}

impl FailOn {
    pub(super) fn parse(text: &str) -> Result<FailOn, String> {
        if let Some(severity) = severity(text) {
            return Ok(FailOn::Severity(severity));
        }
        let (word, least) = match text.split_once(':') {
            None => (text, Severity::Warning),
            Some((word, least)) => (word, severity(least).ok_or("a severity is info, warning or error")?),
        };
        Id::named(word).map(|id| FailOn::Id(id, least)).ok_or_else(|| {
            let known = Id::ALL.iter().map(|id| id.name()).chain(["error", "warning", "all"]);
            match nearest(word, known) {
                Some(known) => format!("there is no finding of that name: did you mean {known}?"),
                None => "there is no finding of that name (epollshim explain lists them)".into(),
            }
        })
    }

    #[must_use]
    pub fn names(self, finding: &Finding) -> bool {
        match self {
            FailOn::Id(id, least) => finding.id == id && finding.severity >= least,
            FailOn::Severity(least) => finding.severity >= least,
        }
    }
}

fn severity(word: &str) -> Option<Severity> {
    match word {
        "error" => Some(Severity::Error),
        "warning" => Some(Severity::Warning),
        "info" | "all" => Some(Severity::Info),
        _ => None,
    }
}

/// What `--fail-on` of `inspect` names: a kind of finding, or all, of a severity or a higher one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailOnSeen {
    pub id: Option<String>,
    pub least: Severity,
}

impl FailOnSeen {
    /// Other kinds of findings are known, and not found from outside.
    pub(super) fn parse(text: &str) -> Result<FailOnSeen, String> {
        let id = text.split_once(':').map_or(text, |(id, _)| id);
        if !crate::inspect::IDS.contains(&id) {
            return Ok(match FailOn::parse(text)? {
                FailOn::Id(id, least) => FailOnSeen { id: Some(id.name().to_owned()), least },
                FailOn::Severity(least) => FailOnSeen { id: None, least },
            });
        }
        let least = match text.split_once(':') {
            None => Severity::Warning,
            Some((_, least)) => severity(least).ok_or("a severity is info, warning or error")?,
        };
        Ok(FailOnSeen { id: Some(id.to_owned()), least })
    }
}

/// From which severity on a new finding fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FailOnNew(pub Severity);

impl FailOnNew {
    pub(super) fn parse(text: &str) -> Result<FailOnNew, String> {
        let least = match text.strip_prefix("new").map(|rest| (rest, rest.strip_prefix(':'))) {
            Some(("", _)) => Some(Severity::Warning),
            Some((_, Some(least))) => severity(least),
            _ => None,
        };
        least.map(FailOnNew).ok_or_else(|| "it takes new, new:info, new:warning or new:error".into())
    }
}
