//! Linker arguments of the shim. Nothing slow, nothing generated. Which symbols are exported needs no argument: rustc
//! hands the linker a version script of its own, of the `no_mangle` functions alone (tests/cost.rs looks).

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for argument in [
        // GNU ld (the last -fuse-ld counts): lld, rustc's own choice, keeps the language's personality routine in every library
        // (LLVM 22, lld/ELF/MarkLive.cpp: .eh_frame is a root), and with it 260 KB of panicking that nothing here calls.
        "-fuse-ld=bfd",
        // The name that a program linked against the shim would record.
        "-Wl,-soname,libepollshim.so",
        // Resolve our own imports at load: no lazy binding inside a hook, and a read-only GOT.
        "-Wl,-z,now",
        "-Wl,-z,relro",
        // dlclose() must not unmap code that hooks, exit handlers and other threads still run.
        "-Wl,-z,nodelete",
        // An unresolved symbol is a failure here, not in a stranger's process.
        "-Wl,-z,defs",
    ] {
        println!("cargo::rustc-cdylib-link-arg={argument}");
    }
}
