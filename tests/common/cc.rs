//! The flags that every C program of the tests is compiled with besides its own.

/// The words of `EPOLLSHIM_CFLAGS`: `-ftrivial-auto-var-init=pattern`, say, shows a test that reads what it never wrote.
pub fn extra_flags() -> Vec<String> {
    let flags = std::env::var("EPOLLSHIM_CFLAGS").unwrap_or_default();
    flags.split_whitespace().map(str::to_owned).collect()
}
