
# The processes that have a recording mapped.
function __fish_epollshim_pids
    for maps in (grep -lE '/epollshim\.[^/]*\.rec$' /proc/[0-9]*/maps 2>/dev/null)
        set -l pid (string split / $maps)[3]
        printf '%s\t%s\n' $pid (cat /proc/$pid/comm 2>/dev/null)
    end
end

complete -c epollshim -n "__fish_epollshim_using_subcommand ctl; or __fish_epollshim_using_subcommand top" -a "(__fish_epollshim_pids)"
