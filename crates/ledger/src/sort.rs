//! Sorting without memory, and without a panic.

/// Sorts by heaps: some hundred bytes of code, where core's sorts are ten kilobytes a type of the library's 600.
pub fn sort_by_key<T, K: Ord>(slice: &mut [T], key: impl Fn(&T) -> K) {
    let sink = |heap: &mut [T], mut at: usize| {
        loop {
            let mut largest = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if let (Some(one), Some(other)) = (heap.get(child), heap.get(largest))
                    && key(one) > key(other)
                {
                    largest = child;
                }
            }
            if largest == at {
                return;
            }
            exchange(heap, at, largest);
            at = largest;
        }
    };
    for at in (0..slice.len() / 2).rev() {
        sink(slice, at);
    }
    for end in (1..slice.len()).rev() {
        exchange(slice, 0, end);
        if let Some(heap) = slice.get_mut(..end) {
            sink(heap, 0);
        }
    }
}

/// Two elements change places; where they are one, or not there, nothing does.
pub fn exchange<T>(slice: &mut [T], one: usize, other: usize) {
    if let Ok([one, other]) = slice.get_disjoint_mut([one, other]) {
        core::mem::swap(one, other);
    }
}

/// How many elements from the first on are alike, each with the one before it. 1 where there is none. (core's `chunk_by` may
/// panic.)
pub fn run_length<T>(slice: &[T], alike: impl Fn(&T, &T) -> bool) -> usize {
    1 + slice.iter().zip(slice.iter().skip(1)).take_while(|(one, next)| alike(one, next)).count()
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    #[test]
    fn sorting_sorts() {
        for length in 0..200u64 {
            let mut numbers: Vec<u64> = (0..length).map(|place| place.wrapping_mul(0x9e37_79b9) % 97).collect();
            let mut sorted = numbers.clone();
            sorted.sort_unstable();
            super::sort_by_key(&mut numbers, |number| *number);
            assert_eq!(numbers, sorted);
        }
    }
}
