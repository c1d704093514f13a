//! The points that were found, in one run or in several.

use super::points::Point;

/// In the order in which they were found; of each, how many runs came to it.
#[derive(Default)]
pub struct Found(pub Vec<(Point, usize)>);

impl Found {
    /// Adds a point of a run; whether it is new.
    pub fn add(&mut self, point: Point) -> bool {
        let Some((known, runs)) = self.0.iter_mut().find(|(known, _)| known.is(&point)) else {
            self.0.push((point, 1));
            return true;
        };
        *runs += 1;
        if known.on != point.on {
            // Then no error is tried that depends on it.
            known.on.clear();
        }
        false
    }

    /// Adds all points of a run; whether one is new.
    pub fn add_run(&mut self, points: impl Iterator<Item = Point>) -> bool {
        let mut has_new = false;
        for point in points {
            has_new |= self.add(point);
        }
        has_new
    }

    /// How many points not all of these runs came to.
    pub fn unsteady(&self, all: usize) -> usize {
        self.0.iter().filter(|(_, runs)| *runs < all).count()
    }

    pub fn points(self) -> Vec<Point> {
        self.0.into_iter().map(|(point, _)| point).collect()
    }
}
