//! The points that were found in one run or in several.

use super::points::Point;

/// In the order in which they were found, with the number of runs that reached each.
#[derive(Default)]
pub struct Found(pub Vec<(Point, usize)>);

impl Found {
    /// Adds a point of a run. Returns whether it is new.
    pub fn add(&mut self, point: Point) -> bool {
        let Some((known, runs)) = self.0.iter_mut().find(|(known, _)| known.is(&point)) else {
            self.0.push((point, 1));
            return true;
        };
        *runs += 1;
        if known.on != point.on {
            // Errors that depend on the kind are not tried then.
            known.on.clear();
        }
        false
    }

    /// Adds all points of a run. Returns whether one is new.
    pub fn add_run(&mut self, points: impl Iterator<Item = Point>) -> bool {
        let mut has_new = false;
        for point in points {
            has_new |= self.add(point);
        }
        has_new
    }

    /// The number of points that some of the runs did not reach.
    pub fn unsteady(&self, all: usize) -> usize {
        self.0.iter().filter(|(_, runs)| *runs < all).count()
    }

    pub fn points(self) -> Vec<Point> {
        self.0.into_iter().map(|(point, _)| point).collect()
    }
}
