//! Reads within the bytes of a file, never beyond them.

/// A part of a recording.
#[derive(Clone, Copy)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// The word at a place. None: these bytes end before it.
    pub fn get(self, place: usize) -> Option<u64> {
        let bytes = self.0.get(place..place.checked_add(8)?)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    /// The word at a place, or 0 if these bytes end before it. A word that was never written is 0,
    /// too.
    pub fn word(self, place: usize) -> u64 {
        self.get(place).unwrap_or(0)
    }

    /// The bytes that exist of the `length` bytes from `start` on.
    pub fn part(self, start: usize, length: usize) -> Bytes<'a> {
        let end = start.saturating_add(length).min(self.0.len());
        Bytes(self.0.get(start..end).unwrap_or_default())
    }

    /// The bytes at `place`. The word at `length` has their number, of which at most `most` are
    /// returned.
    pub fn text(self, length: usize, place: usize, most: usize) -> &'a [u8] {
        let length = usize::try_from(self.word(length)).unwrap_or(usize::MAX).min(most);
        self.part(place, length).0
    }

    pub fn until_zero(self) -> &'a [u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}
