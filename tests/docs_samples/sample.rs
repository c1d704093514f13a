//! Compares a sample of a document with what was printed.

use std::sync::Mutex;
use testkit::root;

fn is_blessing() -> bool {
    std::env::var_os("EPOLLSHIM_BLESS").is_some()
}

/// The text with each number, and the unit that belongs to it (`1.27 us`, `3,056`, `+0xcd`), as N.
/// Several numbers in a row are one N, and words are one space apart.
fn masked(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let is_unit = ["ns", "us", "ms", "s", "B", "KiB", "MiB"].contains(&word.trim_end_matches([',', ':', ';']));
        let is_after_number = words.last().is_some_and(|last| last.ends_with('N'));
        let mut text = String::new();
        let mut rest = word;
        while let Some(at) = rest.find(|letter: char| letter.is_ascii_digit()) {
            text.push_str(&rest[..at]);
            let number = &rest[at..];
            let is_hexadecimal = number.starts_with("0x");
            let is_part = |letter: char| {
                letter.is_ascii_digit()
                    || ".,".contains(letter)
                    || is_hexadecimal && (letter == 'x' || letter.is_ascii_hexdigit())
            };
            let end = number.find(|letter| !is_part(letter)).unwrap_or(number.len());
            let end = number[..end].trim_end_matches([',', '.']).len().max(1);
            text.push('N');
            rest = &number[end..];
        }
        text.push_str(rest);
        let is_repeated = text == "N" && words.last().is_some_and(|last| last == "N");
        if !(is_unit && is_after_number || is_repeated) {
            words.push(text);
        }
    }
    words.join(" ").replace(" is open", " are open").replace(" was ", " were ")
}

/// The lines of `printed` after `from` that say what `piece` says: their first and last number.
/// Sentences may be wrapped at other words, because numbers have other lengths.
fn found(piece: &[&str], printed: &[&str], from: usize) -> Option<(usize, usize)> {
    let wanted = masked(&piece.join("\n"));
    (from..printed.len()).find_map(|at| {
        if printed[at].trim().is_empty() != piece[0].trim().is_empty() {
            return None;
        }
        (at + 1..=printed.len())
            .take(piece.len() * 2)
            .find(|end| masked(&printed[at..*end].join("\n")) == wanted)
            .map(|end| (at, end))
    })
}

/// The samples of a document: the first line of each, and the line behind its last. A sample may
/// have empty lines.
pub fn all(text: &str) -> Vec<(usize, usize)> {
    let mut samples: Vec<(usize, usize)> = Vec::new();
    let mut is_open = false;
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("    ") {
            match samples.last_mut() {
                Some(last) if is_open => last.1 = number + 1,
                _ => samples.push((number, number + 1)),
            }
            is_open = true;
        } else if !line.is_empty() {
            is_open = false;
        }
    }
    samples
}

/// The lines of a sample: the whole sample whose first line is `first`, or else from the line that
/// is `first`. If there is none, the same with a line that begins with `first`.
pub fn find(text: &str, first: &str) -> Option<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let shown = |number: usize| lines[number].strip_prefix("    ").unwrap_or_default().trim_start();
    let samples = all(text);
    let each = || samples.iter().flat_map(|(begin, end)| (*begin..*end).map(|number| (number, *end)));
    let place = |is_it: &dyn Fn(&str) -> bool| {
        let whole = samples.iter().copied().find(|(begin, _)| is_it(shown(*begin)));
        whole.or_else(|| each().find(|(number, _)| is_it(shown(*number))))
    };
    place(&|line| line == first).or_else(|| place(&|line| line.starts_with(first)))
}

/// Compares the lines of [`find`] with what was printed. The lines between commands and `...` were
/// printed in one piece, in that order.
pub fn is_real(path: &str, first: &str, printed: &str) {
    // Two tests must not write to one document at the same time.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    let file = root().join(path);
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (begin, end) = find(&text, first).unwrap_or_else(|| panic!("{path} has no sample that begins with {first}"));
    let sample: Vec<&str> = lines[begin..end].iter().map(|line| line.get(4..).unwrap_or_default()).collect();
    let printed: Vec<&str> = printed.lines().collect();
    let is_printed = |line: &str| line != "..." && !line.trim_start().starts_with("$ ");
    let mut real: Vec<String> = Vec::new();
    let (mut index, mut from) = (0, 0);
    while index < sample.len() {
        if !is_printed(sample[index]) {
            real.push(sample[index].to_owned());
            index += 1;
            continue;
        }
        let end = sample[index..].iter().position(|line| !is_printed(line)).map_or(sample.len(), |end| index + end);
        let piece = &sample[index..end];
        let place = found(piece, &printed, from).or_else(|| {
            let at = (from..printed.len()).find(|at| is_blessing() && masked(printed[*at]) == masked(piece[0]))?;
            // Up to the last line of the piece, or else as many lines as before.
            let last = masked(piece[piece.len() - 1]);
            let ends = (at + 1..=printed.len()).take(piece.len() + 3);
            let end = ends.filter(|to| masked(printed[to - 1]) == last).last();
            Some((at, end.unwrap_or(at + piece.len()).min(printed.len())))
        });
        let Some((at, to)) = place else {
            panic!("{path}: not printed in one piece:\n{}\nbut:\n{}", piece.join("\n"), printed.join("\n"));
        };
        real.extend(printed[at..to].iter().map(|line| (*line).to_owned()));
        (index, from) = (end, to);
    }
    if is_blessing() {
        let indented = |line: &String| if line.is_empty() { String::new() } else { format!("    {line}") };
        let mut whole: Vec<String> = lines[..begin].iter().map(|line| (*line).to_owned()).collect();
        whole.extend(real.iter().map(indented));
        whole.extend(lines[begin + sample.len()..].iter().map(|line| (*line).to_owned()));
        // Other tests read the document meanwhile.
        let new = file.with_extension("new");
        std::fs::write(&new, whole.join("\n") + "\n").unwrap();
        std::fs::rename(new, &file).unwrap();
    }
}
