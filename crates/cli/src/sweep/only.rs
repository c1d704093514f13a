//! `--only RULE`: one failure, as in the command line of a find.

use epollshim_format::function::Functions;
use epollshim_format::options;

use super::phases::Phase;
use super::points::Point;
use super::trial::{self, Trial};
use crate::Failure;
use crate::text::printable;

/// The trial of a rule, and the functions that it applies to.
pub fn parse(rule: &str, is_server: bool) -> Result<(Trial, Functions), Failure> {
    let wrong = |why: &str| Failure::usage(format!("--only: {}: {why}", printable(rule)));
    let entry = format!("{}INJECT={rule}", options::PREFIX);
    if rule.contains(';') || options::parse([entry.as_bytes()].into_iter()).1.is_some() {
        return Err(wrong("not one valid rule, such as epoll_ctl:error=ENOMEM:when=1"));
    }
    let (calls, rest) = rule.split_once(':').unwrap_or((rule, ""));
    let functions =
        calls.split(',').filter_map(|word| Functions::named(word.as_bytes())).fold(Functions::NONE, Functions::with);
    let mut point = Point {
        function: if calls == "%creat" { "fcntl" } else { calls }.to_owned(),
        occurrence: 1,
        ..Point::default()
    };
    let mut failures = Vec::new();
    let mut in_tree = false;
    for word in rest.split(':') {
        match word.split_once('=') {
            Some(("op", operation)) => operation.clone_into(&mut point.operation),
            Some(("stack", stack)) => stack.clone_into(&mut point.stack),
            Some(("when", when)) => {
                let first = when.split(|letter: char| !letter.is_ascii_digit()).next();
                point.occurrence = first.and_then(|number| number.parse().ok()).unwrap_or(1);
            }
            Some(("phase", _)) if !is_server => return Err(wrong("phase= needs --workload")),
            Some(("phase", name)) => point.phase = Phase::named(name).unwrap_or_default(),
            Some(("scope", scope)) => in_tree = scope == "tree",
            Some(("error", error)) => failures.push(error),
            _ => failures.push(word),
        }
    }
    let failure = trial::Failure::Call { point, failure: failures.join(":") };
    Ok((Trial { rules: rule.to_owned(), in_tree, failure }, functions))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::parse;
    use crate::sweep::points::{Aim, Point};
    use crate::sweep::trial::Failure;

    #[test]
    fn a_rule_of_a_find_is_read_as_the_trial_that_it_was() {
        let aim = Aim { is_persistent: true, in_tree: true, has_phases: true };
        for (function, operation, failure) in [
            ("accept4", "", "EMFILE"),
            ("epoll_ctl", "DEL", "ENOENT:made"),
            ("fcntl", "", "EMFILE"),
            ("epoll_wait", "", "batch=1"),
        ] {
            let point = Point::second_while_serving(function, operation);
            let rule = point.rule(failure, aim);
            let (trial, functions) = parse(&rule, true).unwrap();
            assert_eq!((trial.rules, trial.in_tree), (rule.clone(), true));
            assert_eq!(trial.failure, Failure::Call { point, failure: failure.into() });
            assert!(!functions.is_empty());
            assert!(parse(&rule, false).is_err(), "phase= needs a server (--workload)");
        }
        for wrong in ["", "accept4", "accept4:error=EMFILE;dup:error=EMFILE", "nope:error=EMFILE"] {
            assert!(parse(wrong, true).is_err(), "{wrong}");
        }
    }
}
