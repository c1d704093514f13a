//! `--shallow`: draws a sample of the points. A seed gives nearly the same sample even if a few
//! points appear or disappear.

use super::points::Point;

/// How many points are tried, and which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    pub number: usize,
    pub seed: u64,
    /// The number of points from which the sample was drawn.
    pub of: usize,
}

/// Keeps `number` points in their order: those whose names have the smallest hashes.
pub fn draw(points: &mut Vec<Point>, number: usize, seed: u64) -> Sample {
    let of = points.len();
    let mut hashes: Vec<u64> = points.iter().map(|point| hash(point, seed)).collect();
    hashes.sort_unstable();
    if let Some(first_left_out) = hashes.get(number) {
        points.retain(|point| hash(point, seed) < *first_left_out);
    }
    Sample { number, seed, of }
}

/// FNV-1a of the name of the point, and the last step of splitmix64.
fn hash(point: &Point, seed: u64) -> u64 {
    let name = format!("{} {} {} {}", point.phase.name(), point.call(), point.stack, point.occurrence);
    let name = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (name ^ name >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::draw;
    use crate::sweep::points::Point;

    fn points(numbers: impl Iterator<Item = u64>) -> Vec<Point> {
        let point = |number| Point { function: "dup".into(), stack: format!("{number:x}/8"), ..Point::default() };
        numbers.map(point).collect()
    }

    fn stacks(points: &[Point]) -> Vec<&str> {
        points.iter().map(|point| point.stack.as_str()).collect()
    }

    #[test]
    fn a_seed_has_the_same_sample_each_time_and_another_seed_another_one() {
        let sample = |seed| {
            let mut all = points(0..100);
            let sample = draw(&mut all, 10, seed);
            assert_eq!((sample.number, sample.of, all.len()), (10, 100, 10));
            all
        };
        assert_eq!(sample(1), sample(1));
        assert_ne!(sample(1), sample(2));
        // One more point changes at most one of the sample.
        let (before, mut after) = (sample(1), points(0..101));
        draw(&mut after, 10, 1);
        assert!(stacks(&after).iter().filter(|stack| !stacks(&before).contains(stack)).count() <= 1);
        let mut few = points(0..3);
        draw(&mut few, 10, 1);
        assert_eq!(few.len(), 3);
    }
}
