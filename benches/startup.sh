#!/bin/sh
# Start-up: the times (startup.c), then the system calls that the shim makes in a program that never
# uses epoll, by strace.
# startup.sh PROGRAM STARTUP FORWARDER LOOKER SHIM [options of startup]
set -eu
program=$1 startup=$2 forwarder=$3 looker=$4 shim=$5
shift 5
"$startup" "$program" "$forwarder" "$looker" "$shim" "$@"

command -v strace >/dev/null || { echo 'skipped: strace is not installed'; exit 0; }
traces=$(mktemp -d)
trap 'rm -rf "$traces"' EXIT
strace -f -qq -o "$traces/bare" "$program"
strace -f -qq -o "$traces/shim" -E LD_PRELOAD="$shim" "$program"
names() { sed -n 's/^[0-9]* *\([a-z_0-9]*\)(.*/\1/p' "$1" | sort | uniq -c | awk '{print $2, $1}'; }
opened() { sed -n 's/^[0-9]* *open[a-z0-9]*(.*"\(.*\)".*/\1/p' "$1" | sort -u; }
names "$traces/bare" >"$traces/bare.names"
names "$traces/shim" >"$traces/shim.names"
opened "$traces/bare" >"$traces/bare.opened"
opened "$traces/shim" >"$traces/shim.opened"

printf 'system calls more than bare: '
join -a 1 -a 2 -e 0 -o 0,1.2,2.2 "$traces/bare.names" "$traces/shim.names" |
    awk '$3 != $2 { printf "%s%s %+d", comma, $1, $3 - $2; comma = ", " } END { print "" }' | fold -s -w 79
printf 'files more than bare: '
comm -13 "$traces/bare.opened" "$traces/shim.opened" | sed 's,.*/,,' | tr '\n' ' '
echo
verdict=ok
comm -13 "$traces/bare.opened" "$traces/shim.opened" |
    grep -v "/$(basename "$shim")\$" && verdict=MISS
grep -q '"/proc' "$traces/shim" && verdict=MISS
grep -q -E '^[0-9]* *(clone3?|fork|vfork)\(' "$traces/shim" && verdict=MISS
echo "no file but the library, no /proc, no thread: $verdict"
