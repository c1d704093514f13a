//! "Did you mean": the known word nearest to a mistyped one.

/// The known word that is at most two edits (insert, delete, replace) away. Of two that are equally
/// near, it returns the one that shares more of its beginning with the mistyped word: few typing
/// errors happen at the beginning.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best: Option<(usize, usize, &str)> = None;
    for candidate in known {
        let distance = distance(word.as_bytes(), candidate.as_bytes());
        let same = word.bytes().zip(candidate.bytes()).take_while(|(left, right)| left == right).count();
        let nearer = best.is_none_or(|(found, alike, _)| distance < found || distance == found && same > alike);
        if distance <= 2 && distance < candidate.len() && nearer {
            best = Some((distance, same, candidate));
        }
    }
    best.map(|(_, _, candidate)| candidate)
}

/// Levenshtein distance. Words longer than the row have a distance of usize::MAX.
fn distance(left: &[u8], right: &[u8]) -> usize {
    const ROW: usize = 64;
    if left.len() >= ROW || right.len() >= ROW || left.len().abs_diff(right.len()) > 2 {
        return usize::MAX;
    }
    let mut row = [0usize; ROW];
    for (index, cell) in row.iter_mut().enumerate() {
        *cell = index;
    }
    for (above, l) in left.iter().enumerate() {
        let mut diagonal = above;
        let mut before = above + 1;
        if let Some(first) = row.first_mut() {
            *first = before;
        }
        for (cell, r) in row.iter_mut().skip(1).zip(right) {
            let replaced = diagonal + usize::from(l != r);
            diagonal = *cell;
            before = replaced.min(before + 1).min(diagonal + 1);
            *cell = before;
        }
    }
    row.get(right.len()).copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_finds_the_word() {
        let known = ["text", "json", "EMFILE", "ENFILE"];
        assert_eq!(nearest("txt", known), Some("text"));
        assert_eq!(nearest("JSON", known), None);
        assert_eq!(nearest("EMFIL", known), Some("EMFILE"));
        assert_eq!(nearest("xml", known), None);
        assert_eq!(nearest("", ["ab"]), None);
        assert_eq!(nearest("fail", ["all", "failed"]), Some("failed"));
    }
}
