#!/usr/bin/env python3
"""Runs the campaigns, keeps what each of them said, and writes docs/evidence.md from that.

usage: tests/evidence.py run [NAME...]     run these (default: all) and keep the results
       tests/evidence.py page              write the tables of docs/evidence.md
       tests/evidence.py list              name what can be run

`run` builds what it needs, replaces the record of each name in docs/evidence.json (date, commit, command,
seconds, status, and what was printed in the end) and writes the page. A run that fails is recorded as
failed, and the exit status is 1. All of them take about an hour on two cores; `fuzz` and `asan` need a
nightly compiler and cargo-fuzz, `coverage` cargo-tarpaulin, `syscalls` strace.

CRASH_LAB_DIR is where stores are put; /dev/shm, if it is there, is fast.
"""

import datetime
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RECORDS = os.path.join(ROOT, "docs", "evidence.json")
PAGE = os.path.join(ROOT, "docs", "evidence.md")
FEATURES = "failpoints,mutants"
FUZZ_SECONDS = int(os.environ.get("FUZZ_SECONDS", "60"))


def output_of(words, env=None):
    """Status and output of a command; its errors go where ours go."""
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, text=True
    )
    return done.returncode, done.stdout


def target_dir():
    meta = ["cargo", "metadata", "--no-deps", "--format-version", "1"]
    return json.loads(output_of(meta)[1])["target_directory"]


def objects(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


# What is run. Each takes the words that a person would type, and gives status and what was found.


def campaign(*words):
    """A campaign of beach-crash: the summary, and the rows before it."""

    def run(_):
        scratch = tempfile.mkdtemp(dir=os.environ.get("CRASH_LAB_DIR", shm()))
        place = ["--dir", os.path.join(scratch, "store")] if words[0] in ("run", "bank") else []
        program = os.path.join(target_dir(), "release", "beach-crash")
        status, text = output_of([program, *words, *place, "--json", "-q"])
        if status == 0:
            shutil.rmtree(scratch, ignore_errors=True)
        found = objects(text)
        kept = [row for row in found if row["t"] in ("damage", "place", "mutant")]
        for row in kept:
            row.pop("said", None)
        last = found[-1] if found and found[-1]["t"] == "summary" else {}
        return status, {"summary": last, "rows": kept}

    shown = ["target/release/beach-crash", *words] + (["--dir DIR"] if words[0] in ("run", "bank") else [])
    return {"command": " ".join(shown), "build": True, "run": run}


def shm():
    return "/dev/shm" if os.path.isdir("/dev/shm") else None


def script(command, pattern, names, env=None, build=False):
    """Any other command; the last match of a pattern gives the figures, in the order of the names."""

    def run(_):
        words = ["python3", *command.split()] if command.startswith("tests/") else command.split()
        if build:
            words += ["--beach", os.path.join(target_dir(), "release", "beach")]
            words += ["--dir", shm()] if shm() else []
        status, text = output_of(words, env)
        sys.stdout.write(text[-2000:])
        matches = re.findall(pattern, text)
        if not matches:
            return status or 1, {"summary": {}}
        figures = matches[-1] if isinstance(matches[-1], tuple) else (matches[-1],)
        return status, {"summary": {name: int(value) for name, value in zip(names, figures)}}

    prefix = "".join(f"{name}={value} " for name, value in (env or {}).items())
    return {"command": prefix + command, "build": build, "run": run}


PASSED = r"test result: ok\. (\d+) passed; (\d+) failed"


def fuzz(_):
    listed = output_of(["cargo", "+nightly", "fuzz", "list"])[1].split()
    rows, failed = [], 0
    flags = [f"-max_total_time={FUZZ_SECONDS}", "-max_len=4096", "-timeout=20", "-malloc_limit_mb=64"]
    for name in listed:
        with tempfile.TemporaryDirectory() as found:
            words = ["cargo", "+nightly", "fuzz", "run", name, found, f"fuzz/corpus/{name}", "--"]
            done = subprocess.run(
                words + flags, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        runs = re.findall(r"Done (\d+) runs in (\d+) second", done.stdout)
        edges = re.findall(r"cov: (\d+)", done.stdout)
        if done.returncode != 0 or not runs:
            failed += 1
            sys.stdout.write(done.stdout[-3000:])
        runs, seconds = map(int, runs[-1]) if runs else (0, 0)
        edges = int(edges[-1]) if edges else 0
        rows.append({"target": name, "runs": runs, "seconds": seconds, "edges": edges})
        print(f"{name}: {runs} runs, {edges} edges", flush=True)
    total = {"targets": len(rows), "runs": sum(row["runs"] for row in rows), "crashes": failed}
    return (1 if failed else 0), {"summary": total, "rows": rows}


TARPAULIN = "tarpaulin --engine llvm --lib --tests"


def coverage(_):
    with tempfile.TemporaryDirectory() as out:
        words = f"cargo {TARPAULIN} --skip-clean --out Json --timeout 3000 --output-dir {out}"
        # What drives the tools and hostile bytes is slow when it is instrumented, and says little of the engine.
        skipped = ["--skip", "hostile::", "--skip", "lab::", "--skip", "kills::", "--skip", "tools::", "--skip", "inspect::"]
        status, _ = output_of([*words.split(), "--", *skipped])
        try:
            with open(os.path.join(out, "tarpaulin-report.json")) as report:
                files = json.load(report)["files"]
        except OSError:
            return status or 1, {"summary": {}}
    modules = {}
    for file in files:
        path = "/".join(file["path"]).replace("//", "/")
        path = os.path.relpath(path, ROOT).split("/")
        if path[0] != "src" or path[1] not in ENGINE or "tests" in path[-1]:
            continue
        covered, coverable = modules.get(path[1], (0, 0))
        modules[path[1]] = (covered + file["covered"], coverable + file["coverable"])
    rows = [
        {"module": name, "lines": coverable, "covered": covered}
        for name, (covered, coverable) in sorted(modules.items())
    ]
    total = {name: sum(row[name] for row in rows) for name in ("lines", "covered")}
    return status, {"summary": total, "rows": rows}


# The modules that are the engine, in the sense of docs/architecture.md.
ENGINE = ("engine", "format", "record", "runtime", "table", "vfs")

RUNS = {
    "power": campaign("power", "--profile", "full"),
    "faults": campaign("faults", "--profile", "full"),
    "damage": campaign("damage", "--profile", "full"),
    "bits": campaign("damage", "--every-bit", "--profile", "full"),
    "variants": campaign("variants", "--profile", "full"),
    "crowd": campaign("crowd", "--profile", "full"),
    "run": campaign("run", "--profile", "full", "--seed", "31"),
    "failpoints": campaign("run", "--profile", "full", "--seed", "32", "--failpoints"),
    "bank": campaign("bank", "--profile", "full", "--seed", "33"),
    "mutants": campaign("mutants"),
    "syscalls": script(
        "tests/kill_at_every_syscall.py",
        r"(\d+) kills at system calls, (\d+) not reached, (\d+) broken promises",
        ("kills", "not_reached", "violations"),
        build=True,
    ),
    "flips": script(
        "cargo test --test it inspect::check::campaign -- --nocapture",
        r"(\d+) flipped bits in (\d+) bytes of (\d+) files",
        ("flips", "bytes", "files"),
    ),
    "hostile": script(
        "cargo test --test it hostile::", PASSED, ("tests", "failed"), {"BEACH_HOSTILE_CASES": "20000"}
    ),
    "orderings": script("cargo test --test it orderings::", PASSED, ("tests", "failed")),
    "fuzz": {"command": "cargo +nightly fuzz run TARGET", "build": False, "run": fuzz},
    "asan": script(
        "cargo +nightly test --target x86_64-unknown-linux-gnu --lib --no-default-features -- engine::memtable vfs::os",
        PASSED,
        ("tests", "failed"),
        {"RUSTFLAGS": "-Zsanitizer=address"},
    ),
    "coverage": {
        "command": f"cargo {TARPAULIN}",
        "build": False,
        "run": coverage,
    },
}


def read_records():
    try:
        with open(RECORDS) as file:
            return json.load(file)
    except OSError:
        return {}


def run(names):
    if any(RUNS[name]["build"] for name in names):
        build = ["cargo", "build", "--release", "--locked", "--features", FEATURES]
        if output_of(build)[0] != 0:
            sys.exit("it does not build")
    failed = []
    for name in names:
        print(f"==> {name}: {RUNS[name]['command']}", flush=True)
        began = time.monotonic()
        status, result = RUNS[name]["run"](name)
        took = round(time.monotonic() - began)
        commit = output_of(["git", "rev-parse", "--short", "HEAD"])[1].strip()
        records = read_records()
        records[name] = {
            "command": RUNS[name]["command"],
            "date": datetime.date.today().isoformat(),
            "commit": commit,
            "seconds": took,
            "status": status,
            **result,
        }
        with open(RECORDS, "w") as file:
            json.dump(records, file, indent=1, sort_keys=True)
            file.write("\n")
        print(f"==> {name}: status {status} after {took} s", flush=True)
        failed += [name] if status != 0 else []
    page()
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


# The page.


def count(value):
    return f"{value:,}"


def sentence(name, found):
    """What a run went through, in words."""
    s = {key: count(value) if isinstance(value, int) else value for key, value in found.items()}
    text = {
        "power": "seed {seed}: {cycles} histories, all of up to {exhaustive_length} steps among them; {states} states "
        "({distinct} different), {recoveries_crashed} of them of a crashed opening, {kills} of a kill; {torn_tails} "
        "torn tails, {lost_batches} lost buffered batches, {unknown_kept} unknown outcomes, {refused} refusals, "
        "{flushes} flushes, {compactions} compactions, {rollovers} rollovers; {states_per_minute} states a minute",
        "faults": "seed {seed}: {cycles} histories, {runs} runs with {injected} failed calls, {told} errors told, "
        "{poisoned} handles poisoned, {unknown} unknown outcomes; {states} states left by kills and losses of power",
        "damage": "seed {seed}: {cycles} histories, {damages} damaged files, {refused} refused, {on_read} told on "
        "reading, {as_tail} dropped as a tail",
        "bits": "seed {seed}: {cycles} histories killed and closed, {damages} damaged files, each bit of each among them",
        "variants": "seed {seed}: {cycles} histories, each under {variants} sets of options, {answers} answers compared",
        "crowd": "seed {seed}: {cycles} crowds, {acknowledged} writes acknowledged, {failed} failed, {snapshots} "
        "snapshots read twice",
        "mutants": "{mutants} deliberate bugs, {caught} noticed, the slowest after {slowest_ms} ms",
        "syscalls": "{kills} kills",
        "flips": "{flips} flipped bits in {files} files, each named in its place",
        "hostile": "{tests} tests, 20,000 mutations for each of the fuzz targets",
        "orderings": "{tests} models, in every order that the memory model allows",
        "fuzz": "{targets} targets, {runs} runs, {crashes} crashes",
        "asan": "{tests} tests of the unsafe code",
        "coverage": "{covered} of {lines} lines of the engine",
    }
    kills = (
        "seed {seed}: {cycles} workers, {kills} killed ({kills_while_opening} while opening, {kills_while_closing} "
        "while closing, {kills_in_flight} with an operation in flight), {operations} operations, {recoveries} "
        "recoveries, {checkpoints} checkpoints, {snapshots} snapshots"
    )
    line = text.get(name, kills).format(**s)
    if found.get("fired"):
        line += f"; {count(sum(found['fired'].values()))} of the kills at {len(found['fired'])} failpoints"
    return line


def broken(found):
    for name in ("violations", "survivors", "crashes", "failed"):
        if name in found:
            return count(found[name])
    return "–"


def runs_table(records):
    lines = ["| what | when | seconds | what it went through | broken promises |", "|---|---|---|---|---|"]
    for name in RUNS:
        record = records.get(name)
        if record is None or not record["summary"]:
            continue
        verdict = broken(record["summary"])
        if record["status"] != 0:
            verdict = f"**failed, status {record['status']}**"
        lines.append(
            f"| `{record['command']}` | {record['date']}, at {record['commit']} | {record['seconds']} | "
            f"{sentence(name, record['summary'])} | {verdict} |"
        )
    return lines


def answers(records, name, file, kinds):
    """The sum over some kinds of damage to a kind of file."""
    rows = records.get(name, {}).get("rows", [])
    rows = [row for row in rows if row["file"] == file and row["damage"] in kinds]
    fields = ("damages", "must_refuse", "refused", "on_read", "as_tail", "harmless", "earlier")
    return {field: sum(row[field] for row in rows) for field in fields}


def losses_table(records):
    lines = ["| what is done | how often | the answer | silent losses |", "|---|---|---|---|"]
    flips = answers(records, "bits", "log", ("flip",))
    lines.append(
        f"| each bit of each log, killed or closed, flipped | {count(flips['damages'])} | {count(flips['refused'])} "
        f"refused; {count(flips['as_tail'])} in bytes that nothing depends on, dropped and told; "
        f"{count(flips['harmless'])} without effect | **{flips['earlier']}** |"
    )
    power = records["power"]["summary"]
    lines.append(
        f"| what a power loss may legally leave, unsynced tails in all forms | {count(power['states'])} | all open, with "
        f"all that was durable and no hole | **{power['violations']}** |"
    )
    gone = answers(records, "damage", "log", ("missing", "emptied", "halved", "cut"))
    lines.append(
        f"| a log missing, emptied, halved, cut | {count(gone['damages'])} | {count(gone['refused'])} refused | "
        f"**{gone['damages'] - gone['refused']}** |"
    )
    older = answers(records, "damage", "log", ("older",))
    lines.append(
        f"| a log replaced by an older copy | {count(older['damages'])} | {count(older['refused'])} refused, all "
        f"{count(older['must_refuse'])} of which the manifest promises more among them; {count(older['earlier'])} opened "
        "as the store of an earlier moment | **0** of those promised |"
    )
    tables = answers(records, "bits", "table", ("flip",))
    lines.append(
        f"| each bit of each table flipped | {count(tables['damages'])} | {count(tables['on_read'])} told when read, "
        f"{count(tables['harmless'])} where only tools look | **{tables['earlier']}** wrong values |"
    )
    rows = [row for row in records["faults"]["rows"] if row["op"] in ("sync", "syncdir")]
    runs, silent = (sum(row[field] for row in rows) for field in ("runs", "silent"))
    lines.append(
        f"| a sync that fails, of a file or a directory | {count(runs)} | {count(runs - silent)} told, {count(silent)} in "
        "which nothing was lost (a manifest that was to follow another: the other goes on) | "
        f"**{records['faults']['summary']['violations']}** |"
    )
    return lines


def coverage_table(records):
    if not records.get("coverage", {}).get("rows"):
        return []
    lines = ["| module | lines | covered | |", "|---|---|---|---|"]
    for row in [*records["coverage"]["rows"], {"module": "all", **records["coverage"]["summary"]}]:
        share = 100 * row["covered"] / max(row["lines"], 1)
        lines.append(f"| `{row['module']}` | {count(row['lines'])} | {count(row['covered'])} | {share:.1f} % |")
    return lines


def page():
    records = read_records()
    with open(PAGE) as file:
        text = file.read()
    for name, table in (("runs", runs_table), ("losses", losses_table), ("coverage", coverage_table)):
        pattern = rf"(<!-- {name}: [^\n]*-->\n)(.*?)(<!-- end of {name} -->)"
        body = "\n".join(table(records))
        text = re.sub(pattern, lambda found: found[1] + body + "\n" + found[3], text, flags=re.S)
    with open(PAGE, "w") as file:
        file.write(text)


def main():
    words = sys.argv[1:]
    unknown = [name for name in words[1:] if name not in RUNS]
    if unknown:
        sys.exit(f"there is no run {', '.join(unknown)}; tests/evidence.py list names them")
    if words[:1] == ["run"]:
        run(words[1:] or list(RUNS))
    elif words == ["page"]:
        page()
    elif words == ["list"]:
        for name, what in RUNS.items():
            print(f"{name:12}{what['command']}")
    else:
        sys.exit(__doc__.strip())


if __name__ == "__main__":
    main()
