//! The order of trials: new places first, probable hangs last.

use std::collections::BTreeSet;

use super::trial::Trial;

/// The function with its operation, and the innermost place.
type Place = (String, String);

pub struct Order {
    /// In the order of the plan.
    waiting: Vec<Trial>,
    /// The places of trials that were made.
    known: BTreeSet<Place>,
    /// The places at which the program hung, or served no client any more.
    hung: BTreeSet<Place>,
}

impl Order {
    pub fn new(trials: Vec<Trial>) -> Order {
        Order { waiting: trials, known: BTreeSet::new(), hung: BTreeSet::new() }
    }

    /// The next trial. Places that were not tried yet come first. Functions whose failure made the
    /// program hang come last, and among them those very places: they take long, and probably find
    /// the same.
    pub fn next(&mut self) -> Option<Trial> {
        let rank = |trial: &Trial| {
            let place = trial.place();
            let siblings = match () {
                () if self.hung.contains(&place) => 2,
                () if self.hung.iter().any(|(call, _)| *call == place.0) => 1,
                () => 0,
            };
            (siblings, self.known.contains(&place))
        };
        let (at, _) = self.waiting.iter().enumerate().min_by_key(|(at, trial)| (rank(trial), *at))?;
        let trial = self.waiting.remove(at);
        self.known.insert(trial.place());
        Some(trial)
    }

    /// Records a hang. Sibling trials will take long as well.
    pub fn has_hung(&mut self, trial: &Trial) {
        self.hung.insert(trial.place());
    }
}

#[cfg(test)]
mod tests {
    use super::Order;
    use crate::sweep::points::Point;
    use crate::sweep::trial::{Failure, Trial};

    fn trial(function: &str, site: &str, failure: &str) -> Trial {
        let point = Point { function: function.into(), frames: vec![site.into()], ..Point::default() };
        Trial { rules: String::new(), in_tree: false, failure: Failure::Call { point, failure: failure.into() } }
    }

    fn name(trial: &Trial) -> String {
        let Failure::Call { point, failure } = &trial.failure else { return String::new() };
        format!("{} {} {failure}", point.function, point.site())
    }

    #[test]
    fn new_places_come_first_and_siblings_of_a_hang_last() {
        let mut order = Order::new(vec![
            trial("dup", "app+1", "EMFILE"),
            trial("dup", "app+1", "ENFILE"),
            trial("dup", "app+2", "EMFILE"),
            trial("open", "app+1", "EMFILE"),
            trial("open", "app+1", "ENOMEM"),
            trial("pipe", "app+4", "EMFILE"),
        ]);
        let first = order.next().map(|trial| {
            // It hangs while others run, so trials that are queued later have to wait as well.
            order.has_hung(&trial);
            name(&trial)
        });
        let mut all: Vec<String> = first.into_iter().collect();
        while let Some(trial) = order.next() {
            all.push(name(&trial));
        }
        assert_eq!(
            all,
            [
                "dup app+1 EMFILE",
                "open app+1 EMFILE",
                "pipe app+4 EMFILE",
                "open app+1 ENOMEM",
                "dup app+2 EMFILE",
                "dup app+1 ENFILE"
            ]
        );
    }

    #[test]
    fn steps_of_a_limit_stay_in_their_order() {
        let step = |number| Trial { rules: String::new(), in_tree: false, failure: Failure::Descriptors(number) };
        let mut order = Order::new((3..7).rev().map(step).collect());
        let mut all = Vec::new();
        while let Some(trial) = order.next() {
            order.has_hung(&trial);
            all.extend(trial.descriptors());
        }
        assert_eq!(all, [6, 5, 4, 3]);
    }
}
