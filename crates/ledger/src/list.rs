//! A growing list in memory that the caller provides.

pub trait List<T> {
    /// Gets memory for `elements` elements, so that `push` needs none. False: there is no memory.
    fn reserve(&mut self, elements: usize) -> bool;
    fn clear(&mut self);
    /// False: there is no memory.
    fn push(&mut self, element: T) -> bool;
    fn as_slice(&self) -> &[T];
    fn as_mut_slice(&mut self) -> &mut [T];
}

#[cfg(test)]
mod of_tests {
    extern crate std;
    use std::vec::Vec;

    impl<T> super::List<T> for Vec<T> {
        fn reserve(&mut self, _: usize) -> bool {
            true
        }
        fn clear(&mut self) {
            Vec::clear(self);
        }
        fn push(&mut self, element: T) -> bool {
            Vec::push(self, element);
            true
        }
        fn as_slice(&self) -> &[T] {
            self
        }
        fn as_mut_slice(&mut self) -> &mut [T] {
            self
        }
    }
}
