//! `epollshim explain`: explains findings, by the pages of docs/findings.

use epollshim_format::findings::Id;
use epollshim_format::suggest::nearest;

use crate::args::Explain;
use crate::text::printable;
use crate::{Failure, markdown, print, terminal};

macro_rules! pages {
    ($($id:ident $name:literal;)*) => {
        /// The page of a finding.
        #[must_use]
        pub const fn page(id: Id) -> &'static str {
            match id {
                $(Id::$id => include_str!(concat!("../../../docs/findings/", $name, ".md")),)*
            }
        }
    };
}

pages! {
    Leak "leak";
    Ghost "ghost";
    StaleData "stale-data";
    Spin "spin";
    PollLoop "poll-loop";
    FullBatch "full-batch";
    Herd "herd";
    NoCloexec "no-cloexec";
    ForkShared "fork-shared";
    CloseInWait "close-in-wait";
    CtlError "ctl-error";
    IgnoredError "ignored-error";
    SizeLie "size-lie";
    LateLoop "late-loop";
    NearLimit "near-limit";
    FdLeak "fd-leak";
    DoubleClose "double-close";
    FdInherited "fd-inherited";
    UseAfterClose "use-after-close";
    Exhausted "exhausted";
    Stalled "stalled";
    Churn "churn";
}

/// Prints pages, or the list of all findings. Returns the exit status.
pub fn explain(asked: &Explain) -> Result<i32, Failure> {
    let (mut text, look) = (String::new(), terminal::stdout());
    if asked.ids.is_empty() {
        for id in Id::ALL {
            text.push_str(&format!("{:<17}{}\n", id.name(), title(*id)));
        }
    }
    for (index, name) in asked.ids.iter().enumerate() {
        let id = Id::named(name).ok_or_else(|| unknown(name))?;
        if index > 0 {
            text.push('\n');
        }
        text.push_str(&markdown::render(page(id), look));
    }
    print(&text)?;
    Ok(0)
}

/// The part of the first line of a page after the id.
fn title(id: Id) -> &'static str {
    let first = page(id).lines().next().unwrap_or_default();
    first.split_once(": ").map_or("", |(_, title)| title)
}

fn unknown(name: &str) -> Failure {
    let hint = match nearest(name, Id::ALL.iter().map(|id| id.name())) {
        Some(known) => format!("did you mean {known}?"),
        None => "run `epollshim explain` for a list".into(),
    };
    Failure::usage(format!("there is no finding '{}'; {hint}", printable(name)))
}

#[cfg(test)]
mod tests {
    use super::{Id, markdown, page, title};
    use epollshim_recording::Look;

    #[test]
    fn each_finding_has_a_page_of_80_columns_that_says_how_to_fix_it() {
        for id in Id::ALL {
            let page = markdown::render(page(*id), Look::default());
            assert!(page.starts_with(&format!("{}: ", id.name())), "{}", id.name());
            assert!(!title(*id).is_empty() && title(*id).len() <= 65, "{}: {}", id.name(), title(*id));
            assert!(page.contains("\nHow to fix it\n"), "{}", id.name());
            for line in page.lines() {
                assert!(line.chars().count() <= 80, "{}: {line}", id.name());
                // Marks of Markdown. Examples are indented, and may contain such letters.
                let marks = ["**", "](", "`"].iter().any(|mark| line.contains(mark));
                let is_marked = marks || ["# ", "## ", "|"].iter().any(|mark| line.starts_with(mark));
                assert!(line.starts_with(' ') || !is_marked, "{}: {line}", id.name());
            }
        }
    }
}
