//! Finds the function of an object that contains an address, by the object's dynamic symbols in
//! memory.
//!
//! dladdr would take the loader's lock, which another thread may hold forever at this point.
//! Functions that an object does not export have no dynamic symbol, and no name here. These are
//! static functions and, in a program that was not linked with -rdynamic, all functions.

use super::sites::{Map, Site};
use crate::elf::number;

/// The sizes of an ELF header, a program header, an entry of the dynamic section, a symbol (elf(5),
/// Elf64).
const HEADER: usize = 64;
const PROGRAM: usize = 56;
const ENTRY: usize = 16;
const SYMBOL: usize = 24;

const PT_LOAD: usize = 1;
const PT_DYNAMIC: usize = 2;
const DT_HASH: usize = 4;
const DT_STRTAB: usize = 5;
const DT_SYMTAB: usize = 6;
const DT_GNU_HASH: usize = 0x6fff_fef5;
const STT_FUNC: usize = 2;
const STT_GNU_IFUNC: usize = 10;

/// The most program headers, entries and symbols that are read, so that a damaged table ends.
const MOST: usize = 1 << 20;

/// The name of the function that contains a site.
pub fn function(map: &Map, site: &Site, address: usize) -> Option<&'static [u8]> {
    let base = site.base()?;
    let object = Object::at(map, base)?;
    // The return address follows the call instruction, so the call ends one byte before it.
    let place = address.checked_sub(1)?.wrapping_sub(object.bias);
    let symbols = map.bytes(object.symbols)?;
    let count = object.count(map)?.min(MOST);
    let found = symbols.chunks_exact(SYMBOL).take(count).find(|symbol| {
        let kind = number(symbol, 4, 1).unwrap_or(0) & 0xf;
        let is_defined = number(symbol, 6, 2).unwrap_or(0) != 0;
        let (Some(value), Some(size)) = (number(symbol, 8, 8), number(symbol, 16, 8)) else { return false };
        is_defined && (kind == STT_FUNC || kind == STT_GNU_IFUNC) && place.wrapping_sub(value) < size
    })?;
    let name = map.bytes(object.names)?.get(number(found, 0, 4)?..)?;
    name.get(..name.iter().position(|byte| *byte == 0)?)
}

/// The tables of an object.
#[derive(Default)]
struct Object {
    /// The difference between the addresses in memory and the linked addresses.
    bias: usize,
    symbols: usize,
    names: usize,
    hash: usize,
    gnu_hash: usize,
}

impl Object {
    fn at(map: &Map, base: usize) -> Option<Object> {
        let head = map.bytes(base)?;
        if head.get(..5)? != b"\x7fELF\x02" {
            return None;
        }
        let (offset, count) = (number(head, 32, 8)?, number(head, 56, 2)?);
        let headers = || head.get(offset.max(HEADER)..).unwrap_or_default().chunks_exact(PROGRAM).take(count);
        let of_kind = |kind| headers().find(move |header| number(header, 0, 4) == Some(kind));
        let first = of_kind(PT_LOAD)?;
        let bias = base.wrapping_sub(number(first, 16, 8)?.wrapping_sub(number(first, 8, 8)?));
        let dynamic = map.bytes(bias.wrapping_add(number(of_kind(PT_DYNAMIC)?, 16, 8)?))?;
        let mut object = Object { bias, ..Object::default() };
        for entry in dynamic.chunks_exact(ENTRY).take(MOST) {
            let (tag, value) = (number(entry, 0, 8)?, number(entry, 8, 8)?);
            // glibc turns these into addresses, except where the section is read-only.
            let address = if value < base { bias.wrapping_add(value) } else { value };
            match tag {
                0 => break,
                DT_STRTAB => object.names = address,
                DT_SYMTAB => object.symbols = address,
                DT_HASH => object.hash = address,
                DT_GNU_HASH => object.gnu_hash = address,
                _ => {}
            }
        }
        (object.symbols != 0 && object.names != 0).then_some(object)
    }

    /// How many symbols there are, according to the hash table that the loader uses.
    fn count(&self, map: &Map) -> Option<usize> {
        if self.gnu_hash == 0 {
            return number(map.bytes(self.hash)?, 4, 4);
        }
        // The table begins with the numbers of buckets, of symbols that are not in it, and of words
        // of the filter.
        let table = map.bytes(self.gnu_hash)?;
        let (buckets, hidden, filter) = (number(table, 0, 4)?, number(table, 4, 4)?, number(table, 8, 4)?);
        let table = table.get(filter.checked_mul(8)?.checked_add(16)?..)?;
        let (buckets, chains) = table.split_at_checked(buckets.checked_mul(4)?)?;
        let last = buckets.chunks_exact(4).filter_map(|bucket| number(bucket, 0, 4)).max().unwrap_or(0);
        let Some(at) = last.checked_sub(hidden) else { return Some(hidden) };
        // The last entry of a chain has its lowest bit set.
        let chain = chains.get(at.checked_mul(4)?..)?;
        let more = chain.chunks_exact(4).position(|hash| number(hash, 0, 4).is_none_or(|hash| hash & 1 == 1))?;
        last.checked_add(more)?.checked_add(1)
    }
}
