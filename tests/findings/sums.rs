//! Defects that show in the sums at the end.

use super::{is_fixed, is_found};

#[test]
fn more_watches_than_epoll_create_promised() {
    is_found("size_lie", "size-lie", "info");
    is_fixed("size_lie");
}
