#!/bin/sh
# redis-server and nginx (a master, two workers) under load: the server's own processor time an operation, bare, under the
# shim, and recording; against bare in the same round. Time is that of all the server's threads, in nanoseconds, of
# /proc/PID/task/TID/schedstat (the same that /proc/PID/stat shows in hundredths of a second): what waits for a processor
# because others work is not in it, what they take away of caches is.
#
#   servers.sh SHIM [--rounds N] [--json FILE]
#
# A round is all three freshly started, and then loaded in turn, in short slices whose order alternates, so that what else
# the machine does meets all of them. The median of the rounds' ratios is the figure; the least and the greatest tell how
# much it may be believed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
shim=$1 rounds=9 json=
shift
while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2 ;;
    --json) json=$2 ;;
    *) echo "servers.sh: $1?" >&2 && exit 2 ;;
    esac
    shift 2
done
PATH=$PATH:/usr/sbin
work=$(mktemp -d)
servers=
# Only what was started here, and only if it is still there.
trap 'stop; rm -rf "$work"' EXIT

stop() {
    for pid in $servers; do kill -TERM "$pid" 2>/dev/null || :; done
    for pid in $servers; do wait "$pid" 2>/dev/null || :; done
    servers=
}

# start VARIANT COMMAND...: in the background; its process id in the file pid of the variant's directory.
start() {
    variant=$1
    shift
    case $variant in
    bare) "$@" ;;
    shim) LD_PRELOAD=$shim EPOLLSHIM_REPORT=none "$@" ;;
    record) LD_PRELOAD=$shim EPOLLSHIM_REPORT=none EPOLLSHIM_RECORD=$work/record/rec "$@" ;;
    esac >"$work/$variant/out" 2>&1 &
    echo $! >"$work/$variant/pid"
    servers="$servers $!"
}

# taken VARIANT: nanoseconds of processor time of the server's process and its children, all threads.
taken() {
    server=$(cat "$work/$1/pid")
    for pid in $server $(cat "/proc/$server/task/$server/children" 2>/dev/null); do
        cat "/proc/$pid"/task/*/schedstat
    done | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

# answers VARIANT COMMAND...: waits till it succeeds, ten seconds at most.
answers() {
    variant=$1 tries=0
    shift
    until "$@" >"$work/load" 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || { echo "servers.sh: $variant: no answer" >&2 && cat "$work/$variant/out" "$work/load" >&2 && exit 1; }
        sleep 0.1
    done
}

# Of each server: NAME_start VARIANT starts and warms it, NAME_load VARIANT loads it and prints how many operations it did.
redis_start() {
    start "$1" redis-server --port "$(port "$1")" --bind 127.0.0.1 --save '' --appendonly no --dir "$work/$1"
    answers "$1" redis-cli -p "$(port "$1")" ping
    redis-benchmark -p "$(port "$1")" -c 50 -n 20000 -t get -q >"$work/load"
}

redis_load() {
    redis-benchmark -p "$(port "$1")" -c 50 -n 30000 -t get -q >"$work/load"
    echo 30000
}

nginx_start() {
    mkdir -p "$work/$1/www"
    user=
    [ "$(id -u)" -ne 0 ] || user='user root;'
    sed -e '/^#/d' -e "s,DIR,$work/$1,g" -e "s,PORT,$(port "$1"),g" -e "s,USER,$user," \
        "$here/../tests/programs/nginx.conf" >"$work/$1/nginx.conf"
    start "$1" nginx -p "$work/$1" -c nginx.conf -e "$work/$1/error.log"
    answers "$1" wrk -t 1 -c 50 -d 1s "http://127.0.0.1:$(port "$1")/hello"
}

nginx_load() {
    wrk -t 1 -c 50 -d 1s "http://127.0.0.1:$(port "$1")/hello" >"$work/load"
    awk '$2 == "requests" { print $1 }' "$work/load"
}

port() {
    case $1 in
    bare) echo "$first_port" ;;
    shim) echo $((first_port + 1)) ;;
    record) echo $((first_port + 2)) ;;
    esac
}

median() { sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }

# Sets `order` to another one for each number.
order_of() {
    case $(($1 % 6)) in
    0) order='bare shim record' ;;
    1) order='record shim bare' ;;
    2) order='shim record bare' ;;
    3) order='bare record shim' ;;
    4) order='record bare shim' ;;
    5) order='shim bare record' ;;
    esac
}

# measure SERVER
measure() {
    round=0
    : >"$work/rounds"
    while [ "$round" -lt "$rounds" ]; do
        rm -rf "$work/bare" "$work/shim" "$work/record"
        mkdir "$work/bare" "$work/shim" "$work/record"
        order_of "$round"
        for variant in $order; do "$1_start" "$variant"; done
        for slice in 0 1 2; do
            order_of $((round + slice + 1))
            for variant in $order; do
                before=$(taken "$variant")
                operations=$("$1_load" "$variant")
                echo "$(($(taken "$variant") - before)) $operations" >>"$work/$variant/slices"
            done
        done
        stop
        for variant in bare shim record; do
            awk '{ taken += $1; operations += $2 } END { printf "%.1f ", taken / operations }' "$work/$variant/slices"
        done >>"$work/rounds"
        echo >>"$work/rounds"
        round=$((round + 1))
    done
    bare=$(cut -d ' ' -f 1 "$work/rounds" | median)
    for variant in 2:shim:1.01 3:record:1.02; do
        column=${variant%%:*} bound=${variant##*:} name=${variant#*:}
        name=${name%:*}
        awk -v column="$column" '{ printf "%.4f\n", $column / $1 }' "$work/rounds" | sort -n >"$work/ratios"
        awk -v what="$1, $name" -v bare="$bare" -v bound="$bound" -v json="$json" '
            { all[NR] = $1 }
            END {
                figure = all[int((NR + 1) / 2)]
                ok = figure <= bound
                printf "%-34s %11.0f %8.3f %8.3f %8.3f %6s %s\n", what, bare, figure, all[1], all[NR], bound, ok ? "ok" : "MISS"
                if (json != "")
                    printf "{\"path\":\"%s\",\"ratio\":%.4f,\"least\":%.4f,\"greatest\":%.4f,\"ok\":%s}\n", what, figure, all[1], \
                        all[NR], ok ? "true" : "false" >>json
            }' "$work/ratios"
    done
}

# Three ports that nobody listens on, as far as the kernel's table tells.
first_port=20000
taken_port() { grep -qi ":$(printf '%04X' "$1") " /proc/net/tcp; }
while taken_port "$first_port" || taken_port $((first_port + 1)) || taken_port $((first_port + 2)); do
    first_port=$((first_port + 3))
done

printf '\nServers: processor time an operation, over bare, %s rounds (load of the machine: %s)\n' "$rounds" \
    "$(cut -d ' ' -f 1 /proc/loadavg)"
printf '%-34s %11s %8s %8s %8s %6s\n' '' 'bare, ns' median least greatest bound
for program in redis-server redis-cli redis-benchmark nginx wrk; do
    command -v "$program" >/dev/null || missing="${missing:-} $program"
done
case ${missing:-} in
*redis*) echo "skipped: redis:$missing not installed" ;;
*) measure redis ;;
esac
case ${missing:-} in
*nginx* | *wrk*) echo "skipped: nginx:$missing not installed" ;;
*) measure nginx ;;
esac
