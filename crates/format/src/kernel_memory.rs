//! The kernel's memory for an epoll instance and for an interest: an estimate from its objects'
//! sizes.
//!
//! Sizes in bytes on x86-64, of slab objects as `/proc/slabinfo` lists them (Linux 6.x): an
//! interest is a struct epitem (cache `eventpoll_epi`, 128) and a struct eppoll_entry (cache
//! `eventpoll_pwq`, 64), which is also what the kernel charges it by (EP_ITEM_COST in
//! fs/eventpoll.c, v6.1); an instance is a struct eventpoll (kmalloc-256), a struct file (cache
//! `filp`, 256) and its dentry (cache `dentry`, 192).

/// Bytes for an instance.
pub const INSTANCE: u64 = 256 + 256 + 192;
/// Bytes for an interest.
pub const INTEREST: u64 = 128 + 64;

/// The text that reports give as the source.
pub const SOURCE: &str = "x86-64 slab sizes of Linux 6.x: instance 704 B (eventpoll 256, file 256, dentry 192), interest 192 B (epitem 128, eppoll_entry 64)";

/// Bytes for a number of instances and interests.
#[must_use]
#[inline]
pub const fn estimate(instances: u64, interests: u64) -> u64 {
    instances.saturating_mul(INSTANCE).saturating_add(interests.saturating_mul(INTEREST))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::{INSTANCE, INTEREST, SOURCE, estimate};

    #[test]
    fn the_sizes_are_those_that_the_reports_name() {
        assert!(SOURCE.contains(&std::format!("instance {INSTANCE} B (eventpoll 256, file 256, dentry 192)")));
        assert!(SOURCE.contains(&std::format!("interest {INTEREST} B (epitem 128, eppoll_entry 64)")));
        assert_eq!((INSTANCE, INTEREST), (256 + 256 + 192, 128 + 64));
        assert_eq!(estimate(2, 3), 2 * 704 + 3 * 192);
    }
}
