//! The beginning and the end of every page. The page loads nothing from elsewhere.

use std::fmt::Write as _;

pub use crate::markup::escaped;

const STYLE: &str = include_str!("page.css");

/// Writes the page up to its own content. `title` must be escaped. `style` is added to the style of
/// all pages.
pub fn begin(page: &mut String, title: &str, style: &str) {
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>epollshim: {title}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n<main>\n",
    );
}

/// The text after the page's own content.
pub fn end(script: &str) -> String {
    let script = if script.is_empty() { String::new() } else { format!("<script>{script}</script>\n") };
    format!("</main>\n{script}</body>\n</html>\n")
}
