//! The values of `--fail-on`.

use epollshim_format::findings::{Finding, Id, Severity};
use epollshim_format::suggest::nearest;

/// A value of `--fail-on`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailOn {
    /// A kind of finding, of at least this severity.
    Id(Id, Severity),
    /// Every finding of at least this severity.
    Severity(Severity),
}

impl FailOn {
    pub(super) fn parse(text: &str) -> Result<FailOn, String> {
        if let Some(severity) = severity(text) {
            return Ok(FailOn::Severity(severity));
        }
        let (word, least) = match text.split_once(':') {
            None => (text, Severity::Warning),
            Some((word, least)) => (word, severity(least).ok_or("allowed severities: info, warning, error")?),
        };
        Id::named(word).map(|id| FailOn::Id(id, least)).ok_or_else(|| {
            let known = Id::ALL.iter().map(|id| id.name()).chain(["error", "warning", "all"]);
            match nearest(word, known) {
                Some(known) => format!("there is no such finding; did you mean {known}?"),
                None => "there is no such finding; run `epollshim explain` for a list".into(),
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

/// A value of `inspect --fail-on`: findings of at least a severity, of one kind or of all (None).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailOnSeen {
    pub id: Option<String>,
    pub least: Severity,
}

impl FailOnSeen {
    /// Accepts kinds of findings that only the library finds, too. They never match.
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
            Some((_, least)) => severity(least).ok_or("allowed severities: info, warning, error")?,
        };
        Ok(FailOnSeen { id: Some(id.to_owned()), least })
    }
}

/// A value of `diff --fail-on`: the least severity of a new finding that counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FailOnNew(pub Severity);

impl FailOnNew {
    pub(super) fn parse(text: &str) -> Result<FailOnNew, String> {
        let least = match text.strip_prefix("new").map(|rest| (rest, rest.strip_prefix(':'))) {
            Some(("", _)) => Some(Severity::Warning),
            Some((_, Some(least))) => severity(least),
            _ => None,
        };
        least.map(FailOnNew).ok_or_else(|| "allowed: new, new:info, new:warning, new:error".into())
    }
}
