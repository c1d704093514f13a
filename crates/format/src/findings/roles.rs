//! What the places of a finding are.

use super::{Finding, Id, stale_data, use_after_close};

/// What the program did at the places of a finding: the words before `at`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Roles {
    pub site: &'static str,
    pub other: &'static str,
}

impl Finding {
    #[must_use]
    pub fn roles(&self) -> Roles {
        let [first, ..] = self.detail;
        let both = match self.id {
            Id::SizeLie if self.variant != 0 => "called|",
            Id::Leak | Id::FdLeak | Id::SizeLie | Id::Churn => "created|",
            Id::Ghost => "closed|registered",
            Id::StaleData if self.variant == stale_data::IN_A_BATCH => "removed|delivered",
            Id::StaleData if first != 0 => "registered again|first registered",
            Id::StaleData => "registered again|closed",
            Id::Herd => "registered|also registered",
            Id::Spin => "waited on|registered",
            Id::PollLoop | Id::FullBatch | Id::LateLoop => "waited on|",
            Id::NoCloexec | Id::FdInherited => "created|exec called",
            Id::ForkShared => "used|created",
            Id::CloseInWait => "closed|waited on",
            Id::DoubleClose => "closed again|first closed",
            Id::UseAfterClose if self.variant == use_after_close::STRAY => "closed again|first closed",
            Id::IgnoredError | Id::UseAfterClose => "called|closed",
            Id::Exhausted => "called|created",
            Id::Stalled => "delivered|registered",
            Id::CtlError | Id::NearLimit => "called|",
        };
        // Split by bytes, because this cannot panic.
        let mut words = both.as_bytes().split(|byte| *byte == b'|');
        let mut next = || core::str::from_utf8(words.next().unwrap_or_default()).unwrap_or_default();
        Roles { site: next(), other: next() }
    }

    /// A third place, where the descriptor was created; 0: not known, or not part of this finding.
    #[must_use]
    pub fn created_at(&self) -> u64 {
        let [_, created, ..] = self.detail;
        if matches!(self.id, Id::DoubleClose | Id::UseAfterClose) { created } else { 0 }
    }

    /// Whether to describe the file that is still watched, and not the one that has the number now.
    #[must_use]
    pub const fn describes_what_is_watched(&self) -> bool {
        matches!(self.id, Id::Ghost) || matches!(self.id, Id::StaleData) && self.variant != stale_data::IN_A_BATCH
    }
}
