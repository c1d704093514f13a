# The processes that have a recording mapped, and files.
(( $+functions[_epollshim_pids] )) ||
_epollshim_pids() {
    local -a pids
    pids=(${(f)"$(grep -lE '/epollshim\.[^/]*\.rec$' /proc/[0-9]*/maps 2>/dev/null | cut -d / -f 3)"})
    _describe 'recorded process' pids
    _files
}
