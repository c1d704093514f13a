//! Masks what differs from run to run in the output of a program: addresses, times, process ids,
//! the folder of the run.

use std::collections::BTreeSet;
use std::path::Path;

use regex::bytes::Regex;

/// Masked in output, which is compared literally otherwise: addresses, dates, times of day.
const IN_OUTPUT: [&str; 3] = [r"0x[0-9a-fA-F]{6,16}", r"\d{4}[-/]\d\d[-/]\d\d", r"\d\d:\d\d:\d\d([.,]\d+)?"];

/// Masked in messages, of which only the words count.
const IN_MESSAGES: &str = r"0x[0-9a-fA-F]+|[0-9a-fA-F]{8,}|\d+";

pub struct Masks {
    output: Vec<Regex>,
    message: Regex,
    own: Vec<Regex>,
}

impl Masks {
    /// Fails with the expression that is invalid, and why.
    pub fn new(own: &[String]) -> Result<Masks, String> {
        let compile = |text: &str| Regex::new(text).map_err(|_| text.to_owned());
        Ok(Masks {
            output: IN_OUTPUT.iter().map(|text| compile(text)).collect::<Result<_, _>>()?,
            message: compile(IN_MESSAGES)?,
            own: own.iter().map(|text| compile(text)).collect::<Result<_, _>>()?,
        })
    }

    fn without_own(&self, text: &[u8], folder: &Path) -> Vec<u8> {
        let folder = regex::escape(&folder.to_string_lossy());
        let mut text = match Regex::new(&folder) {
            Ok(folder) => folder.replace_all(text, &b"RUN"[..]).into_owned(),
            Err(_) => text.to_vec(),
        };
        for own in &self.own {
            text = own.replace_all(&text, &b"*"[..]).into_owned();
        }
        text
    }

    /// The output of a program, masked for comparison.
    pub fn output(&self, text: &[u8], folder: &Path) -> Vec<u8> {
        let mut text = self.without_own(text, folder);
        for mask in &self.output {
            text = mask.replace_all(&text, &b"*"[..]).into_owned();
        }
        text
    }

    /// A line of messages, masked for comparison.
    pub fn message(&self, line: &[u8], folder: &Path) -> String {
        let line = self.without_own(line, folder);
        String::from_utf8_lossy(&self.message.replace_all(&line, &b"#"[..])).trim().to_owned()
    }

    /// The lines of messages that are not among those of clean runs, as they were printed.
    pub fn new_messages(&self, text: &[u8], folder: &Path, known: &BTreeSet<String>) -> Vec<String> {
        const MOST: usize = 8;
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        let new = lines.filter(|line| !known.contains(&self.message(line, folder)));
        new.take(MOST).map(|line| String::from_utf8_lossy(line).trim().to_owned()).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Masks;
    use std::path::Path;

    #[test]
    fn what_differs_from_run_to_run_is_masked_and_nothing_else() {
        let masks = Masks::new(&["port [0-9]+".into()]).unwrap();
        let folder = Path::new("/tmp/run.7");
        let output = |text: &str| String::from_utf8(masks.output(text.as_bytes(), folder)).unwrap();
        assert_eq!(output("at 0x7f00aa11bb22 17 5"), "at * 17 5");
        assert_eq!(output("2026-11-30 12:00:01.250 /tmp/run.7/a port 99"), "* * RUN/a *");
        assert_eq!(masks.message(b"  [71] fd 5: No space\n", folder), "[#] fd #: No space");
        assert!(Masks::new(&["(".into()]).is_err());
    }

    #[test]
    fn only_words_make_a_message_new() {
        let masks = Masks::new(&[]).unwrap();
        let folder = Path::new("/run");
        let known = ["started as #".to_owned()].into();
        assert_eq!(masks.new_messages(b"started as 12\n\nfailed: 12\n", folder, &known), ["failed: 12"]);
    }
}
