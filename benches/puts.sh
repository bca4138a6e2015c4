#!/usr/bin/env bash
# One process per put: `beach put` against RocksDB's `ldb put` (Debian's rocksdb-tools).
#
# Usage: benches/puts.sh [PUTS] [ROUNDS]     (1000 puts, 3 rounds, interleaved)
#
# Both are durable when a process returns as its maker ships it: `beach put` syncs, `ldb put` writes the log
# without a sync, which favours it. Prints seconds a round, the ratio of the medians, and what is on disk.
set -euo pipefail
cd "$(dirname "$0")/.."
puts=${1:-1000} rounds=${2:-3}
beach=${BEACH:-target/release/beach}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
value=$(printf 'v%.0s' {1..100})

run() { # run NAME ROUND: seconds of PUTS processes
    local start end db="$dir/$1-$2"
    start=$(date +%s.%N)
    if [ "$1" = beach ]; then
        for ((i = 0; i < puts; i++)); do "$beach" --db "$db" put "key$i" "$value"; done
    else
        for ((i = 0; i < puts; i++)); do
            ldb --db="$db" --create_if_missing put "key$i" "$value" >"$dir/out"
        done
    fi
    end=$(date +%s.%N)
    awk -v a="$start" -v b="$end" 'BEGIN { printf "%.2f\n", b - a }'
}

median() { sort -n | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'; }

for ((round = 1; round <= rounds; round++)); do
    for name in beach ldb; do
        seconds=$(run "$name" "$round")
        echo "$seconds" >>"$dir/$name"
        echo "round $round: $name put × $puts: $seconds s"
    done
done
awk -v b="$(median <"$dir/beach")" -v l="$(median <"$dir/ldb")" -v n="$puts" 'BEGIN {
    printf "medians: beach %.2f ms, ldb %.2f ms a put; ratio %.1f\n", b / n * 1e3, l / n * 1e3, l / b }'
for name in beach ldb; do
    db="$dir/$name-$rounds"
    echo "$name: $(du -sk "$db" | cut -f1) KiB, $(find "$db" -name '*.sst' | wc -l) tables"
done
test "$("$beach" --db "$dir/beach-$rounds" scan --count)" = "$puts"
