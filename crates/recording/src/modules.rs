//! The mapped objects, and which one an address lies in.

/// One line of a modules segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    pub start: u64,
    pub end: u64,
    /// None: the object has no build id.
    pub build_id: Option<Vec<u8>>,
    pub path: Vec<u8>,
}

/// The maps of objects in the order in which they were written.
#[derive(Default)]
pub struct Modules {
    maps: Vec<Vec<Module>>,
}

/// Where an address lies.
pub struct Place<'a> {
    pub module: Option<&'a Module>,
}

impl Modules {
    /// Adds a segment's text. Returns the number of lines that could not be parsed.
    pub fn add(&mut self, text: &[u8]) -> usize {
        let mut unread = 0;
        let mut map = Vec::new();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match module(line) {
                Some(module) => map.push(module),
                None => unread += 1,
            }
        }
        map.sort_by_key(|module| module.start);
        self.maps.push(map);
        unread
    }

    /// Looks an address up, the newest map first. An unloaded object is only in older maps.
    pub fn place(&self, address: u64) -> Place<'_> {
        // A return address follows the call instruction, so the call is one byte before it.
        let call = address.saturating_sub(1);
        let find = |map: &Vec<Module>| -> Option<usize> {
            let before = map.partition_point(|module| module.start <= call).checked_sub(1)?;
            map.get(before).is_some_and(|module| call < module.end).then_some(before)
        };
        let module = self.maps.iter().rev().find_map(|map| map.get(find(map)?));
        Place { module }
    }

    pub fn all(&self) -> impl Iterator<Item = &Module> {
        self.maps.iter().flatten()
    }
}

impl Place<'_> {
    /// `object+0xoffset`, as in the exit report. A bare address if no object is known.
    pub fn text(&self, address: u64) -> String {
        match self.module {
            Some(module) => format!("{}+{:#x}", plain(module.name()), address.saturating_sub(module.start)),
            None => format!("{address:#x}"),
        }
    }
}

impl Module {
    /// The file's name without its directories.
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }
}

/// Text that the program chose, without characters that control a terminal.
pub fn plain(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        out.extend(chunk.valid().chars().map(|letter| if unsafe_to_print(letter) { '?' } else { letter }));
        if !chunk.invalid().is_empty() {
            out.push('?');
        }
    }
    out
}

/// Whether a character is a control character, or changes the direction of text.
fn unsafe_to_print(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn module(line: &[u8]) -> Option<Module> {
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let start = hexadecimal(words.next()?)?;
    let end = hexadecimal(words.next()?)?;
    let build_id = match words.next()? {
        b"-" => None,
        digits => Some(bytes(digits)?),
    };
    let path = words.next()?;
    // The kernel appends this to the path of a deleted file (proc_pid_maps(5)).
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    (start < end && !path.is_empty()).then(|| Module { start, end, build_id, path: path.to_vec() })
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    let digits = digits.strip_prefix(b"0x").unwrap_or(digits);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The bytes of a build id. Real build ids have 8 to 32 bytes.
fn bytes(digits: &[u8]) -> Option<Vec<u8>> {
    if digits.is_empty() || digits.len() > 128 || !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks(2).map(|pair| hexadecimal(pair).and_then(|byte| u8::try_from(byte).ok())).collect()
}

#[cfg(test)]
mod tests {
    use super::{Modules, plain};

    #[test]
    fn an_address_is_shown_as_its_object_and_an_offset() {
        let mut modules = Modules::default();
        assert_eq!(modules.add(b"400000 500000 - /bin/a b\n7f00 8000 0aff /lib/libx.so (deleted)\nnonsense\n"), 1);
        assert_eq!(modules.place(0x40_1000).text(0x40_1000), "a b+0x1000");
        assert_eq!(modules.place(0x8000).text(0x8000), "libx.so+0x100", "a return address right behind its end");
        assert_eq!(modules.place(0x7f00).text(0x7f00), "0x7f00", "nothing before its beginning");
        assert_eq!(modules.place(0x7f01).module.and_then(|module| module.build_id.clone()), Some(vec![0x0a, 0xff]));
        assert_eq!(modules.add(b"7f00 8000 - /lib/liby.so\n"), 0);
        assert_eq!(modules.place(0x7f10).text(0x7f10), "liby.so+0x10", "the newest map counts");
        assert_eq!(modules.place(0x40_1000).text(0x40_1000), "a b+0x1000", "what it lacks is in an older one");
    }

    #[test]
    fn nothing_that_controls_a_terminal_is_printed() {
        assert_eq!(plain(b"a\x1b[31m\xffb\xe2\x80\xae"), "a?[31m?b?");
    }
}
