//! The committed header equals the output of cbindgen for src/capi.rs.

#![allow(clippy::expect_used)]

#[test]
fn the_header_matches_the_source() {
    let root = testkit::root();
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    let made = cbindgen::Builder::new()
        .with_config(config)
        .with_src(root.join("src/capi.rs"))
        .generate()
        .expect("cbindgen understands src/capi.rs");
    let mut text = Vec::new();
    made.write(&mut text);
    let text = String::from_utf8(text).expect("a header is text");
    let path = root.join("include/epollshim.h");
    if std::env::var_os("EPOLLSHIM_BLESS").is_some() {
        std::fs::write(&path, &text).expect("include/epollshim.h");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "include/epollshim.h does not match src/capi.rs; run `make header`\n{text}");
}
