#!/usr/bin/env python3
"""BeachDB against RocksDB, by RocksDB's own db_bench (Debian's rocksdb-tools).

    cargo build --release && benches/compare.py --results results [--num 2000000] [--rounds 3]

Both engines take turns, phase by phase, each in a fresh directory on the same disk, with the same
keys, values, cache, memtables, filter bits, compression and durability. No operation is timed one
by one in the rounds; latencies come from one more pass, in which both time every operation. All
output is kept in the results directory, with the exact commands; table.md there is what is printed.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

CACHE = 256 << 20
MEMTABLE = 64 << 20
MEMORY = 512 << 20  # of BeachDB: enough that the cache gets all of its own, beside three memtables
SEEK_PAIRS = 50  # what `beach bench seekrandom` takes behind a seek

# What both are told. RocksDB has no filter by default; one memtable that is written, two that wait,
# and two background jobs are what BeachDB has.
ROCKSDB = {
    "key_size": 16,
    "value_size": 100,
    "compression_type": "lz4",
    "compression_ratio": 0.5,
    "cache_size": CACHE,
    "write_buffer_size": MEMTABLE,
    "max_write_buffer_number": 3,
    "bloom_bits": 10,
    "max_background_jobs": 2,
    "threads": 1,
    "disable_wal": 0,
    "seek_nexts": SEEK_PAIRS,
    "seed": 1,
}
BEACH = ["--key-size", "16", "--value-size", "100", "--compression", "lz4", "--cache", str(CACHE),
         "--memtable", str(MEMTABLE), "--memory", str(MEMORY), "--threads", "1", "--seed", "1"]

# What RocksDB must say that it has: in its OPTIONS file, and in its LOG.
EXPECTED_OPTIONS = ["compression=kLZ4Compression", f"write_buffer_size={MEMTABLE}",
                    "max_write_buffer_number=3", "max_background_jobs=2",
                    "filter_policy=bloomfilter:10", "block_size=4096"]
EXPECTED_LOG = [f"capacity : {CACHE}"]

# Phase: its workloads under BeachDB's names, the directory it goes on with, its words for each
# engine. `wait` is measured from the end of the load to the last background work.
PHASES = {
    "seq": (None, ["fillseq"], ["fillseq"]),
    "sync": (None, ["fillsync"], ["fillsync"]),
    "main": (None,
             ["fillrandom", "flush", "waitcompact", "readrandom", "readmissing", "readseq",
              "overwrite", "flush", "waitcompact"],
             ["fillrandom", "flush", "waitforcompaction", "readrandom", "readmissing", "readseq",
              "overwrite", "flush", "waitforcompaction"]),
    # The store is opened again, and read through once to fill the cache.
    "seek": ("main", ["readseq", "seekrandom"], ["readtocache", "seekrandom"]),
}
ROWS = ["fillseq", "fillrandom", "wait", "readrandom", "readmissing", "readseq", "overwrite",
        "wait 2", "seekrandom", "fillsync"]


class Run:
    """One process: a phase of an engine, its words, and what came of it."""

    def __init__(self, args, engine, phase, label, timed):
        self.args, self.engine, self.phase, self.label, self.timed = args, engine, phase, label, timed
        base = PHASES[phase][0] or phase
        self.dir = args.dir / f"{engine}-{label}-{base}"

    def num(self):
        if self.phase != "sync":
            return self.args.num
        # beach syncs a thousandth of the keys, db_bench each of them, though it says otherwise.
        return self.args.syncs * (1000 if self.engine == "beach" else 1)

    def words(self):
        carry, beach, rocksdb = PHASES[self.phase]
        if self.engine == "beach":
            words = [str(self.args.beach), "--db", str(self.dir), "bench", *beach, "--json", "-q",
                     "--num", str(self.num()), *BEACH, "--sample", "1" if self.timed else "0"]
            words += [] if self.timed and not carry else ["--no-verify"]
            words += ["--use-existing"] if carry else []
            return words + (["--ops", str(self.args.seeks)] if self.phase == "seek" else [])
        options = dict(ROCKSDB, db=self.dir, num=self.num(), benchmarks=",".join(rocksdb))
        options["sync"] = 0
        options["histogram"] = int(self.timed)
        options["use_existing_db"] = int(carry is not None)
        if self.phase == "seek":
            options["reads"] = self.args.seeks
        return [self.args.db_bench] + [f"--{name}={value}" for name, value in options.items()]

    def go(self):
        """Runs it and returns {row: {"rate", "p50", "p99", "found"}}, and what the process used."""
        if not PHASES[self.phase][0]:
            shutil.rmtree(self.dir, ignore_errors=True)
        os.sync()  # neither pays for what the other has left in the page cache
        words = self.words()
        name = f"{self.label}-{self.phase}-{self.engine}"
        with open(self.args.results / "commands.txt", "a") as commands:
            commands.write(f"# {name}, load {os.getloadavg()[0]:.2f}\n{' '.join(words)}\n")
        lines = []
        with open(self.args.results / f"{name}.err", "wb") as err, \
                open(self.args.results / f"{name}.out", "w") as out:
            env = {key: value for key, value in os.environ.items() if key != "BEACH_DB"}
            child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=err, env=env, text=True)
            for line in child.stdout:
                lines.append((time.time(), line.rstrip("\n")))
                out.write(line)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            sys.exit(f"{name} ended with {child.returncode}; see {self.args.results}/{name}.err")
        measured = (self.of_beach if self.engine == "beach" else self.of_rocksdb)(lines)
        used = {"cpu": usage.ru_utime + usage.ru_stime, "rss": usage.ru_maxrss * 1024,
                "disk": sum(file.stat().st_blocks * 512 for file in self.dir.iterdir())}
        return measured, used

    def of_beach(self, lines):
        objects = [json.loads(line) for _, line in lines]
        if not objects or objects[-1].get("complete") is not True:
            sys.exit("the output of beach is cut")
        setup = objects[0]
        if (setup["cache"], setup["memtable"], setup["compression"]) != (CACHE, MEMTABLE, "lz4"):
            sys.exit(f"beach did not take its options: {setup}")
        measured, waits, flushed = {}, 0, 0.0
        for one in objects:
            if one["t"] != "workload":
                continue
            if one["workload"] == "flush":
                flushed = one["seconds"]
            elif one["workload"] == "waitcompact":
                waits += 1
                measured["wait" if waits == 1 else "wait 2"] = {"seconds": flushed + one["seconds"]}
            elif not (self.phase == "seek" and one["workload"] == "readseq"):
                measured[one["workload"]] = {"rate": one["ops_per_second"], "p50": one["p50_us"],
                                             "p99": one["p99_us"], "found": one["found"]}
        return measured

    def of_rocksdb(self, lines):
        self.check_rocksdb()
        ended = background_ends(self.dir / "LOG")
        measured, name, waits = {}, None, 0
        for at, line in lines:
            if "Assertions are enabled" in line:
                self.args.asserts = True
            if found := re.match(r"(\w+)\s*:\s+[\d.]+ micros/op (\d+) ops/sec", line):
                name, rate = found.group(1), int(found.group(2))
                if name != "flush":
                    loaded = at
                keys = re.search(r"\((\d+) of (\d+) found\)", line)
                measured[name] = {"rate": rate, "found": int(keys.group(1)) if keys else None}
            elif found := re.match(r"Percentiles: P50: ([\d.]+) .*P99: ([\d.]+)", line):
                measured[name]["p50"], measured[name]["p99"] = map(float, found.groups())
            elif line.startswith("waitforcompaction") and line.endswith("finished"):
                # It says so twice for each wait. The tool sleeps for five seconds first, so the
                # time is taken from the engine's own log.
                waits += 1
                if waits % 2 == 0:
                    until = max((end for end in ended if end <= at + 0.1), default=loaded)
                    measured["wait" if waits == 2 else "wait 2"] = {
                        "seconds": max(0.0, until - loaded)}
        measured.pop("readtocache", None)
        measured.pop("flush", None)
        return measured

    def check_rocksdb(self):
        options = max(self.dir.glob("OPTIONS-*"), key=lambda file: file.name).read_text()
        log = (self.dir / "LOG").read_text(errors="replace")
        for wanted, text in [*((it, options) for it in EXPECTED_OPTIONS),
                             *((it, log) for it in EXPECTED_LOG)]:
            if wanted not in text:
                sys.exit(f"RocksDB did not take its options: no {wanted!r} in {self.dir}")


def background_ends(log):
    """When RocksDB ended its flushes and compactions, in seconds since 1970."""
    pattern = r'"time_micros": (\d+).*"event": "(?:flush_finished|compaction_finished)"'
    return [int(us) / 1e6 for us in re.findall(pattern, log.read_text(errors="replace"))]


def number(value):
    return "–" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def spread(values):
    if not values:
        return "–"
    return f"{number(statistics.median(values))} ({number(min(values))} to {number(max(values))})"


def table(args, rates, latencies, used):
    """The results as a page of Markdown."""
    lines = [f"{args.num:,} pairs of 16 + 100 bytes, half compressible, {args.rounds} interleaved rounds;"
             f" operations a second, medians (min to max); seconds for the waits.", "",
             "| | BeachDB | RocksDB | ratio | BeachDB p50 / p99 µs | RocksDB p50 / p99 µs |",
             "|---|---|---|---|---|---|"]
    for row in ROWS:
        ours, theirs = rates["beach"].get(row, []), rates["rocksdb"].get(row, [])
        ratio = "–"
        if ours and theirs and min(ours + theirs) > 0:
            ratio = statistics.median(ours) / statistics.median(theirs)
            ratio = f"{1 / ratio if row.startswith('wait') else ratio:.2f}"
        cells = [f"{number(it.get('p50'))} / {number(it.get('p99'))}"
                 for it in (latencies[engine].get(row, {}) for engine in ("beach", "rocksdb"))]
        lines.append(f"| {row} | {spread(ours)} | {spread(theirs)} | {ratio} | {' | '.join(cells)} |")
    for what, unit, scale in [("cpu", "CPU seconds", 1), ("rss", "peak memory, MiB", 1 << 20),
                              ("disk", "store afterwards, MiB", 1 << 20)]:
        cells = [[it[what] / scale for it in used[engine]] for engine in ("beach", "rocksdb")]
        ratio = statistics.median(cells[1]) / max(statistics.median(cells[0]), 1e-9)
        lines.append(f"| {unit}, phase main | {spread(cells[0])} | {spread(cells[1])} | {ratio:.2f} | | |")
    lines += ["", "A ratio above 1 is in favour of BeachDB, for times and sizes too.", "",
              "The same for both: keys, shape of the values, order drawn at random with replacement, "
              "256 MiB of block cache, three memtables of 64 MiB, filters of 10 bits a key, LZ4, 4 KiB "
              "blocks, one thread, kill-safe writes (fillsync: power-safe).", "", "What differs:", "",
              "- The random orders: each tool has its own generator.",
              "- BeachDB does not compress flushed tables that are merged soon; RocksDB compresses all.",
              "- Latencies: db_bench tells percentiles between the bounds of its buckets, "
              "`beach bench` within a percent. Both read the clock for each operation in that pass.",
              "- The wait: `beach bench` times its call; of RocksDB it is the time from the end of the "
              "load to its last flush or compaction, by its log.",
              "- Peak memory counts mapped files, a log where it is mapped."]
    if args.asserts:
        lines.append("- **This db_bench was built with assertions** and says that it is unnecessarily "
                     "slow: ratios of work in memory flatter BeachDB.")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--results", type=Path, required=True, help="new directory for all output")
    parser.add_argument("--dir", type=Path, help="where the stores are made [RESULTS/stores]")
    parser.add_argument("--num", type=int, default=2_000_000)
    parser.add_argument("--seeks", type=int, default=100_000)
    parser.add_argument("--syncs", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beach", type=Path, default=default_beach())
    parser.add_argument("--db_bench", default=shutil.which("db_bench"))
    parser.add_argument("--no-latency", action="store_true", help="leave out the pass that times operations")
    args = parser.parse_args()
    if not args.db_bench or not args.beach.exists():
        sys.exit("there is no db_bench (Debian: rocksdb-tools), or no beach; run: cargo build --release")
    args.results.mkdir(parents=True)
    args.dir = args.dir or args.results / "stores"
    args.dir.mkdir(parents=True, exist_ok=True)
    args.asserts = False
    rates = {"beach": {}, "rocksdb": {}}
    latencies = {"beach": {}, "rocksdb": {}}
    used = {"beach": [], "rocksdb": []}
    passes = [(str(round), False) for round in range(1, args.rounds + 1)]
    passes += [] if args.no_latency else [("latency", True)]
    for index, (label, timed) in enumerate(passes):
        # Whoever is first in one round is second in the next.
        engines = ["beach", "rocksdb"][:: 1 if index % 2 == 0 else -1]
        for phase in PHASES:
            for engine in engines:
                run = Run(args, engine, phase, label, timed)
                measured, process = run.go()
                print(f"{label} {phase} {engine}:", ", ".join(
                    f"{row} {number(it.get('rate', it.get('seconds')))}"
                    for row, it in measured.items()), file=sys.stderr)
                for row, one in measured.items():
                    if timed:
                        latencies[engine][row] = one
                    else:
                        rates[engine].setdefault(row, []).append(one.get("rate", one.get("seconds")))
                if phase == "main" and not timed:
                    used[engine].append(process)
        for engine in engines:
            for phase in PHASES:
                shutil.rmtree(args.dir / f"{engine}-{label}-{phase}", ignore_errors=True)
    text = table(args, rates, latencies, used)
    (args.results / "table.md").write_text(text)
    print(text, end="")


def default_beach():
    target = os.environ.get("CARGO_TARGET_DIR", Path(__file__).resolve().parent.parent / "target")
    return Path(target) / "release" / "beach"


if __name__ == "__main__":
    main()
