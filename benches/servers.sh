#!/bin/sh
# redis-server, nginx (a master and two workers) and memcached (four threads) under load: the
# server's own processor time per operation, bare, under the shim, and recording. It is measured
# with 50 connections, where a wait returns several requests, and with one connection per thread,
# where each request is waited for.
#
#   servers.sh LOAD SHIM [--starts N] [--rounds N] [--json FILE]
#
# Each start runs four instances of a server: bare, bare again, under the shim, recording. LOAD
# (load.c) loads them in short slices in turn, so that other work on the machine affects all of
# them. Within a round of slices, each instance has a ratio to the mean of the two bare ones. A
# figure is the median of these ratios over all starts; the least and the greatest median of a
# single start are printed too. The distance of `bare again` from 1 is noise: the other figures
# contain as much.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
load=$1 shim=$2 starts=12 rounds=12 json=
shift 2
while [ $# -gt 0 ]; do
    case $1 in
    --starts) starts=$2 ;;
    --rounds) rounds=$2 ;;
    --json) json=$2 ;;
    *) echo "servers.sh: $1?" >&2 && exit 2 ;;
    esac
    shift 2
done
PATH=$PATH:/usr/sbin
work=$(mktemp -d)
servers=
# Only processes that were started here, and only if they still run.
trap 'stop; rm -rf "$work"' EXIT

stop() {
    for pid in $servers; do kill -TERM "$pid" 2>/dev/null || :; done
    for pid in $servers; do wait "$pid" 2>/dev/null || :; done
    servers=
}

# start VARIANT COMMAND...: in the background; its process id in $!.
start() {
    variant=$1
    shift
    case $variant in
    bare | again) exec "$@" ;;
    shim) LD_PRELOAD=$shim EPOLLSHIM_REPORT=none exec "$@" ;;
    record) LD_PRELOAD=$shim EPOLLSHIM_REPORT=none EPOLLSHIM_RECORD=$work/record/rec exec "$@" ;;
    esac >"$work/$variant/out" 2>&1 &
    servers="$servers $!"
}

# start_SERVER VARIANT PORT
start_redis() {
    start "$1" redis-server --port "$2" --bind 127.0.0.1 --save '' --appendonly no --dir "$work/$1"
}

start_nginx() {
    user=
    [ "$(id -u)" -ne 0 ] || user='user root;'
    sed -e '/^#/d' -e "s,DIR,$work/$1,g" -e "s,PORT,$2,g" -e "s,USER,$user," "$here/nginx.conf" >"$work/$1/nginx.conf"
    start "$1" nginx -p "$work/$1" -c nginx.conf -e "$work/$1/error.log"
}

start_memcached() {
    user=
    [ "$(id -u)" -ne 0 ] || user='-u root'
    # shellcheck disable=SC2086
    start "$1" memcached $user -l 127.0.0.1 -p "$2" -U 0 -t 4
}

# The last of four consecutive ports above $1 that are not in the kernel's table of TCP sockets.
free_ports() {
    awk -v first="$1" '
        FNR > 1 { split($2, place, ":"); taken[toupper(place[2])] = 1 }
        END {
            for (last = first + 1; last < 65536 && row < 4; last++)
                row = sprintf("%04X", last) in taken ? 0 : row + 1
            print last - 1
        }' /proc/net/tcp
}

# once SERVER CONNECTIONS NUMBER: one start, with the variants in an order that changes with its
# number. Appends the order and the rounds to the file "rounds".
once() {
    case $(($3 % 4)) in
    0) order='bare shim again record' ;;
    1) order='record again shim bare' ;;
    2) order='again record bare shim' ;;
    3) order='shim bare record again' ;;
    esac
    rm -rf "$work/bare" "$work/again" "$work/shim" "$work/record"
    port=$(free_ports 20000)
    instances=
    for variant in $order; do
        mkdir "$work/$variant"
        "start_$1" "$variant" "$port"
        instances="$instances $!:$port"
        port=$((port - 1))
    done
    # shellcheck disable=SC2086
    if ! "$load" "$1" "$2" "$rounds" $instances >"$work/start"; then
        tail -n 5 "$work"/*/out >&2
        exit 1
    fi
    stop
    echo "starts $order" >>"$work/rounds"
    cat "$work/start" >>"$work/rounds"
}

# figures WHAT: prints the figures of the file "rounds".
figures() {
    awk -v what="$1" -v json="$json" '
        function median(values, count,    i, j, value) {
            for (i = 2; i <= count; i++) {
                value = values[i]
                for (j = i - 1; j >= 1 && values[j] > value; j--)
                    values[j + 1] = values[j]
                values[j + 1] = value
            }
            return count % 2 ? values[(count + 1) / 2] : (values[count / 2] + values[count / 2 + 1]) / 2
        }
        $1 == "starts" {
            start++
            for (i = 2; i <= NF; i++)
                column[$i] = i - 1
            next
        }
        {
            bare[++all] = ($column["bare"] + $column["again"]) / 2
            of[all] = start
            ratio["again", all] = $column["again"] / $column["bare"]
            ratio["shim", all] = $column["shim"] / bare[all]
            ratio["record", all] = $column["record"] / bare[all]
        }
        function print_figure(variant, name, bound,    i, s, count, figure, least, greatest, one) {
            least = 9e9
            greatest = 0
            for (s = 1; s <= start; s++) {
                count = 0
                for (i = 1; i <= all; i++)
                    if (of[i] == s)
                        some[++count] = ratio[variant, i]
                one = median(some, count)
                least = one < least ? one : least
                greatest = one > greatest ? one : greatest
            }
            for (i = 1; i <= all; i++)
                some[i] = ratio[variant, i]
            figure = median(some, all)
            name = what ": " name
            printf "%-30s %8.0f %9.4f %9.4f %9.4f", name, cost, figure, least, greatest
            printf bound ? "  " bound " " (figure <= bound ? "ok" : "MISS") "\n" : "\n"
            if (json)
                printf "{\"path\":\"%s\",\"ratio\":%.4f,\"least\":%.4f,\"greatest\":%.4f,\"ok\":%s}\n", \
                    name, figure, least, greatest, !bound || figure <= bound ? "true" : "false" >>json
        }
        END {
            for (i = 1; i <= all; i++)
                some[i] = bare[i]
            cost = median(some, all)
            print_figure("again", "bare again")
            print_figure("shim", "shim", 1.01)
            print_figure("record", "record", 1.02)
        }' "$work/rounds"
}

printf '\nServers: processor time an operation, over bare, %s starts of %s rounds\n' "$starts" "$rounds"
printf '%-30s %8s %9s %9s %9s\n' '(load of the machine: '"$(cut -d ' ' -f 1 /proc/loadavg))" 'bare, ns' median 'least of' 'starts to'
for server in redis:1 nginx:2 memcached:4; do
    threads=${server#*:} server=${server%:*}
    program=$server
    [ "$server" != redis ] || program=redis-server
    if ! command -v "$program" >/dev/null; then
        echo "skipped: $server: $program is not installed"
        continue
    fi
    for connections in 50 "$threads"; do
        : >"$work/rounds"
        started=0
        while [ "$started" -lt "$starts" ]; do
            once "$server" "$connections" "$started"
            started=$((started + 1))
        done
        figures "$server by $connections"
    done
done
