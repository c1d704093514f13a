//! What every page has: its head with the style, nothing from elsewhere, and its end.

use std::fmt::Write as _;

const STYLE: &str = include_str!("page.css");

/// Up to the page's own content. `title` and `style`, which is added to that of all pages, are written as they are.
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

/// What stands behind that content.
pub fn end(script: &str) -> String {
    let script = if script.is_empty() { String::new() } else { format!("<script>{script}</script>\n") };
    format!("</main>\n{script}</body>\n</html>\n")
}

/// Text for a page: nothing in it is markup, nothing commands.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter if letter.is_control() => out.push('?'),
            letter => out.push(letter),
        }
    }
    out
}
