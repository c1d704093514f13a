
# `epollshim run FLAGS` and `epollshim sweep FLAGS` are followed by a command with its own arguments.
function __fish_epollshim_command_behind_flags
    set -l words (commandline -opc) (commandline -ct)
    set -l subcommand $words[2]
    set -e words[1..2]
    while set -q words[1]
        switch "$subcommand $words[1]"
            case '* --'
                set -e words[1]
                break
            case @FLAGS@
                set -e words[1]
                set -e words[1]
            case '* -*'
                set -e words[1]
            case '*'
                break
        end
    end
    set -q words[1]
    and complete -C "$words"
end

complete -c epollshim -n "__fish_epollshim_using_subcommand run sweep" -x -a "(__fish_epollshim_command_behind_flags)"
