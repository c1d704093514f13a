//! Lists of words, each of which is one text in the library. A list of `&str` would need a
//! relocation for each word: 40 bytes more.

/// A list of words, none of which contains a newline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Words {
    /// The words, each with a newline after it.
    joined: &'static [u8],
}

impl Words {
    /// Use `words!`.
    #[must_use]
    pub const fn of(joined: &'static [u8]) -> Words {
        Words { joined }
    }

    pub fn iter(self) -> impl Iterator<Item = &'static str> + Clone {
        let ends = |byte: &u8| *byte == b'\n';
        // It splits bytes: that cannot panic.
        self.joined
            .split_inclusive(ends)
            .map(|word| core::str::from_utf8(word.strip_suffix(b"\n").unwrap_or(word)).unwrap_or_default())
    }

    #[must_use]
    pub fn get(self, index: usize) -> Option<&'static str> {
        self.iter().nth(index)
    }
}

/// How many bytes [`join`] makes of a list.
#[must_use]
#[allow(clippy::indexing_slicing, reason = "the loop's condition")]
pub const fn length(list: &[&str]) -> usize {
    let (mut bytes, mut at) = (0, 0);
    while at < list.len() {
        bytes += list[at].len() + 1;
        at += 1;
    }
    bytes
}

/// The words of a list, each with a newline after it.
#[must_use]
#[allow(clippy::indexing_slicing, reason = "the compiler evaluates it")]
pub const fn join<const BYTES: usize>(list: &[&str]) -> [u8; BYTES] {
    let mut joined = [b'\n'; BYTES];
    let (mut end, mut word) = (0, 0);
    while word < list.len() {
        let bytes = list[word].as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            joined[end + at] = bytes[at];
            at += 1;
        }
        end += bytes.len() + 1;
        word += 1;
    }
    joined
}

/// The [`Words`] of a constant list.
macro_rules! words {
    ($list:expr) => {{
        const WORDS_OF: &[&str] = $list;
        const WORDS_JOINED: &[u8] = &$crate::words::join::<{ $crate::words::length(WORDS_OF) }>(WORDS_OF);
        $crate::words::Words::of(WORDS_JOINED)
    }};
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use super::Words;

    #[test]
    fn words_come_out_as_they_were_put_in() {
        const EMPTY: Words = words!(&[]);
        const SOME: Words = words!(&["one", "", "three of them"]);
        assert_eq!(EMPTY.iter().count(), 0);
        assert!(SOME.iter().eq(["one", "", "three of them"]));
        assert_eq!((SOME.get(1), SOME.get(2), SOME.get(3)), (Some(""), Some("three of them"), None));
    }
}
