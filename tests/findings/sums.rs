//! Defects that the sums at the end tell.

use super::{is_found, is_mended};

#[test]
fn more_watches_than_epoll_create_promised() {
    is_found("size_lie", "size-lie", "info");
    is_mended("size_lie");
}
