//! Linker arguments of the shim. The list of exported symbols needs none: rustc passes the linker a
//! version script that lists only the `no_mangle` functions (tests/cost.rs checks this).

use std::error::Error;
use std::path::Path;
use std::{env, fs};

/// Stand-ins for two libraries that rustc passes to the linker. The standard library's object code
/// refers to libgcc's unwinder and to the loader's `__tls_get_addr`, from functions that the linker
/// then removes, since nothing here calls them. GNU ld decides before it removes them which
/// libraries are needed, so `--as-needed` would record both. With these, the library needs
/// libc.so.6 alone, and `-z defs` makes the link fail if code that remains refers to either.
const STAND_INS: [(&str, &str); 2] = [
    ("libgcc_s.so", "/* Nothing: the library does not use libgcc_s. */\n"),
    (
        "libc.so",
        "/* libc without the loader, which the C library's own script adds as needed. */\nINPUT ( -l:libc.so.6 )\n",
    ),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    // `cfg(portable)`: src/arch/portable in place of assembly.
    println!("cargo::rustc-check-cfg=cfg(portable)");
    if env::var_os("CARGO_FEATURE_PORTABLE").is_some() || env::var("CARGO_CFG_TARGET_ARCH")? != "x86_64" {
        println!("cargo::rustc-cfg=portable");
    }
    let directory = env::var("OUT_DIR")?;
    for (name, script) in STAND_INS {
        fs::write(Path::new(&directory).join(name), script)?;
    }
    // Not `rustc-link-search`: the tests' own binaries do need libgcc_s.
    println!("cargo::rustc-cdylib-link-arg=-L{directory}");
    for argument in [
        // GNU ld (the last -fuse-ld counts): lld, rustc's own choice, keeps the language's
        // personality routine in every library (LLVM 22, lld/ELF/MarkLive.cpp: .eh_frame is a
        // root), and with it 260 KB of panicking that nothing here calls.
        "-fuse-ld=bfd",
        // The name that a program linked against the shim would record.
        "-Wl,-soname,libepollshim.so",
        // Resolve our own imports at load: no lazy binding inside a hook, and a read-only GOT.
        "-Wl,-z,now",
        "-Wl,-z,relro",
        // dlclose() must not unmap code that hooks, exit handlers and other threads still run.
        "-Wl,-z,nodelete",
        // Code and constants in one mapping: two mappings less, and less of the file is padding.
        "-Wl,-z,noseparate-code",
        // An unresolved symbol is a failure here, not in a stranger's process.
        "-Wl,-z,defs",
    ] {
        println!("cargo::rustc-cdylib-link-arg={argument}");
    }
    // No debug information, only symbols. It names functions without their modules or types, so gdb
    // would mistake a function of the library for the program's or libc's `close`.
    // EPOLLSHIM_DEBUG_INFO=1 keeps it, for work on the library itself.
    println!("cargo::rerun-if-env-changed=EPOLLSHIM_DEBUG_INFO");
    if env::var_os("EPOLLSHIM_DEBUG_INFO").is_none() {
        println!("cargo::rustc-cdylib-link-arg=-Wl,--strip-debug");
    }
    Ok(())
}
