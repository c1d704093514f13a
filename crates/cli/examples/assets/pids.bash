# The processes that have a recording mapped.
_epollshim_pids() {
    grep -lE '/epollshim\.[^/]*\.rec$' /proc/[0-9]*/maps 2>/dev/null | cut -d / -f 3
}

