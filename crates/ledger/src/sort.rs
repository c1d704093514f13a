//! Sorting that neither allocates nor panics.

/// Heapsort: it needs far less code than core's sorts (docs/performance.md, "Size").
pub fn sort_by_key<T, K: Ord>(slice: &mut [T], key: impl Fn(&T) -> K) {
    for at in (0..slice.len() / 2).rev() {
        sink(slice, at, &key);
    }
    for end in (1..slice.len()).rev() {
        exchange(slice, 0, end);
        if let Some(heap) = slice.get_mut(..end) {
            sink(heap, 0, &key);
        }
    }
}

/// Not inlined: it has two callers.
#[inline(never)]
fn sink<T, K: Ord>(heap: &mut [T], mut at: usize, key: &impl Fn(&T) -> K) {
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
}

/// Exchanges two elements. Does nothing if they are one, or do not exist.
pub fn exchange<T>(slice: &mut [T], one: usize, other: usize) {
    if let Ok([one, other]) = slice.get_disjoint_mut([one, other]) {
        core::mem::swap(one, other);
    }
}

/// How many elements, from the first, are each alike to the one before. 1 if the slice is empty.
/// (core's `chunk_by` may panic.)
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
