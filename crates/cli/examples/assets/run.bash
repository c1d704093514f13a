# `epollshim run FLAGS` and `epollshim sweep FLAGS` are followed by a command with its own arguments.
_epollshim_or_command() {
    local at=2 is_command=
    if [[ ${COMP_WORDS[1]} == run || ${COMP_WORDS[1]} == sweep ]]; then
        while ((at < COMP_CWORD)); do
            case "${COMP_WORDS[1]} ${COMP_WORDS[at]}" in
            *" --")
                is_command=yes
                ((at += 1))
                break
                ;;
            @FLAGS@)
                # --flag=value is three words for bash.
                [[ ${COMP_WORDS[at + 1]} == = ]] && ((at += 1))
                ((at += 2))
                ;;
            *" -"* | *" ="*) ((at += 1)) ;;
            *)
                is_command=yes
                break
                ;;
            esac
        done
        if ((at == COMP_CWORD)) && [[ -n ${COMP_WORDS[at]} && ${COMP_WORDS[at]} != -* ]]; then
            is_command=yes
        fi
        if [[ $is_command ]]; then
            # bash-completion completes any command's own arguments.
            if declare -F _command_offset >/dev/null; then
                _command_offset "$at"
            elif ((at == COMP_CWORD)); then
                COMPREPLY=($(compgen -c -- "${COMP_WORDS[at]}"))
            fi
            return
        fi
    fi
    _epollshim "$@"
    if [[ ${COMP_WORDS[1]} == ctl || ${COMP_WORDS[1]} == top ]] && [[ ${COMP_WORDS[COMP_CWORD]} != -* ]] && ((COMP_CWORD > 1)); then
        COMPREPLY=($(compgen -W "$(_epollshim_pids)" -- "${COMP_WORDS[COMP_CWORD]}") "${COMPREPLY[@]}")
    fi
}

