#!/usr/bin/env python3
"""Kills `beach` at every system call that changes something on disk.

Each trace below is one command on a prepared store. It is recorded once with strace; then, for every
system call that changes a file or a name, on every path it is made on, and for every visit N, the
command runs again on a fresh copy of the store and gets SIGKILL as it enters that call (the call itself
is not made: a kill behind it is the kill before the next one). What is left must hold everything that was
acknowledged and nothing but a prefix of what was asked for, every file must be sound, and the store must
take a write and show it.

usage: tests/kill_at_every_syscall.py [--beach target/release/beach] [--dir DIR] [--only TRACE]

Needs strace. DIR is a place for scratch directories; one in memory (/dev/shm) makes it fast. Prints the
counts of each trace; exits 1 if a promise was broken and keeps what the kill left.
"""

import argparse
import collections
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

# What changes the disk, and what tells somebody that it has.
CALLS = (
    "write pwrite64 writev pwritev pwritev2 fdatasync fsync sync_file_range msync munmap "
    "rename renameat renameat2 unlink unlinkat openat creat fallocate ftruncate "
    "mkdir mkdirat link linkat symlinkat copy_file_range flock"
).split()

LINE = re.compile(r"^(\d+) +(\w+)\((.*)$")


def pairs(count, first=0, size=40):
    return {f"key{n:05}": f"{n}:" + "v" * size for n in range(first, first + count)}


def puts(content):
    lines = [json.dumps({"op": "put", "key": key, "value": value}) for key, value in content.items()]
    return ("\n".join(lines) + "\n").encode()


class Trace:
    """A command, the store it works on, and the contents that may be there afterwards."""

    def __init__(self, name, words, prepare, expected, stdin=b"", acked=None):
        self.name, self.words, self.prepare = name, words, prepare
        self.stdin, self.acked = stdin, acked
        # The contents in their order; after a kill one of them must be there.
        self.expected = expected


class Lab:
    def __init__(self, beach, root):
        self.beach, self.root = beach, root
        self.tools = os.path.dirname(os.path.abspath(beach))
        self.has_check = b"\n  check " in self.run("--help").stdout

    def run(self, *words, stdin=b"", tool="beach"):
        program = os.path.join(self.tools, tool) if tool != "beach" else self.beach
        return subprocess.run([program, *words], input=stdin, capture_output=True, cwd=self.root)

    def must(self, *words, stdin=b""):
        done = self.run(*words, stdin=stdin)
        if done.returncode != 0:
            raise SystemExit(f"beach {' '.join(words)}: {done.returncode}: {done.stderr.decode()}")
        return done

    def content(self, store):
        """The pairs of a store, or what keeps it from being read."""
        done = self.run("--db", store, "scan")
        if done.returncode != 0:
            return None, done.stderr.decode().strip()
        return dict(line.split("\t") for line in done.stdout.decode().splitlines()), None

    def strace(self, trace, *options):
        # Whole paths, since strace finds a path only as it is written.
        whole = {name: os.path.join(self.root, name) for name in ("s", "out")}
        command = [whole.get(word, word) for word in trace.words]
        words = ["strace", "-f", "-qq", *options, self.beach, *command]
        return subprocess.run(words, input=trace.stdin, capture_output=True, cwd=self.root)

    def begin(self, trace, saved):
        for name in ("s", "out"):
            shutil.rmtree(os.path.join(self.root, name), ignore_errors=True)
        if os.path.exists(saved):
            shutil.copytree(saved, os.path.join(self.root, "s"), symlinks=True)


def recorded(lab, trace, saved):
    """For each call and each path that it is made on, how often one thread makes it."""
    lab.begin(trace, saved)
    log = os.path.join(lab.root, "log")
    done = lab.strace(trace, "-y", "-o", log, "-e", "trace=" + ",".join(CALLS))
    if done.returncode != 0:
        raise SystemExit(f"{trace.name}: {done.returncode}: {done.stderr.decode()}")
    counts = collections.Counter()
    with open(log, errors="replace") as lines:
        for line in lines:
            found = LINE.match(line)
            if not found:
                continue
            thread, call, rest = found.groups()
            if call == "openat" and not re.search(r"O_CREAT|O_TRUNC", rest):
                continue
            if call == "munmap":
                continue
            for path in places(lab, call, rest):
                counts[call, path, thread] += 1
    most = collections.Counter()
    for (call, path, _), count in counts.items():
        most[call, path] = max(most[call, path], count)
    return most


def places(lab, call, rest):
    """The paths of the scratch directory that a call is about; none stands for standard output."""
    if call == "write" and rest.startswith("1<"):
        return {None}
    # Behind the arguments strace prints the path that a new descriptor leads to.
    rest = rest.rsplit(" = ", 1)[0]
    named = re.findall(r'"([^"]*)"', rest) if call not in ("write", "pwrite64") else []
    named += re.findall(r"^\d+<(/[^>]*)>", rest)
    full = [os.path.normpath(os.path.join(lab.root, name)) for name in named if name]
    # Of a rename the first name: strace does not look at the second.
    return {path for path in full if path.startswith(lab.root + "/")} and set(full[:1])


def kill(lab, trace, saved, call, path, visit):
    lab.begin(trace, saved)
    where = ["-P", path] if path else []
    log = os.path.join(lab.root, "log")
    inject = f"inject={call}:signal=KILL:when={visit}"
    options = ["-o", log, *where, "-e", f"trace={call}", "-e", inject]
    if not path:
        options = ["-o", log, "-e", "trace=write", "-e", inject]
    return lab.strace(trace, *options)


def wrong(lab, trace, done):
    """What is wrong with what is left; none if nothing."""
    acked = 0
    if trace.acked:
        lines = done.stdout.decode().splitlines(keepends=True)
        whole = [json.loads(line) for line in lines if line.endswith("\n")]
        acked = max([object["line"] for object in whole if object["t"] == "ack"], default=0)
    found, why = lab.content("s")
    if found is None:
        if acked == 0 and trace.expected[0] == {}:
            found = {}
        else:
            return f"not readable: {why}"
    if found not in trace.expected:
        return f"{len(found)} pairs, which is none of the states there can be"
    if trace.acked and trace.expected.index(found) < acked:
        return f"{acked} operations were acknowledged, {trace.expected.index(found)} are there"
    if "out" in trace.words:
        copy, why = lab.content("out")
        if copy is None and os.path.exists(os.path.join(lab.root, "out/CURRENT")):
            return f"the checkpoint is not readable: {why}"
        if copy is not None and copy != found:
            return "the checkpoint holds something else"
        if copy is None and lab.run("--db", "s", "checkpoint", "out").returncode != 0:
            return "the checkpoint cannot be made again"
    again = lab.run("--db", "s", "put", "~afterwards", "1")
    if again.returncode != 0:
        return f"no write afterwards: {again.stderr.decode().strip()}"
    then, why = lab.content("s")
    if then != {**found, "~afterwards": "1"}:
        return f"other content behind a write: {why}"
    for tool in ("beach-manifest", "beach-walDump", "beach-sstDump"):
        dump = lab.run("-q", "s", tool=tool)
        if dump.returncode != 0:
            return f"{tool} says {dump.returncode}: {dump.stderr.decode().strip()}"
    if lab.has_check:
        check = lab.run("--db", "s", "check")
        if check.returncode != 0:
            return f"check says {check.returncode}: {check.stdout.decode()[:500]}"
    return None


def traces(lab):
    """The commands, and what makes the store each works on."""
    six, base, more = pairs(6), pairs(200), pairs(50, 300)
    big = pairs(400, 0, 4000)

    def layered():
        for part in range(4):
            lab.must("--db", "s", "apply", "--batch", "0", stdin=puts(pairs(50, part * 50)))
            if part < 3:
                lab.must("--db", "s", "flush")

    def killed(stdin):
        # Its last writer was killed before it said in the log that it was closed.
        last = Trace("", ["--db", "s", "apply", "--batch", "1", "--ack"], None, [], stdin)
        lab.must("--db", "s", "put", "key00000", "0:" + "v" * 40)
        inject = "inject=write:signal=KILL:when=40"
        lab.strace(last, "-o", "/dev/null", "-e", "trace=write", "-e", inject)

    prefixes = [dict(list(six.items())[:count]) for count in range(7)]
    yield Trace("create and put", ["--db", "s", "apply", "--batch", "1", "--ack"], None,
                prefixes, puts(six), acked=True)
    yield Trace("flush", ["--db", "s", "flush"], layered, [base])
    yield Trace("compact", ["--db", "s", "compact"], layered, [base])
    yield Trace("checkpoint", ["--db", "s", "checkpoint", "out"], layered, [base])
    with open(os.path.join(lab.root, "more.ndjson"), "wb") as file:
        lines = [json.dumps({"key": key, "value": value}) for key, value in more.items()]
        file.write(("\n".join(lines) + "\n").encode())
    yield Trace("load sorted", ["--db", "s", "load", "--sorted", "more.ndjson"], layered,
                [base, {**base, **more}])
    recovered = dict(pairs(39))
    yield Trace("recover and put", ["--db", "s", "put", "new", "1"],
                lambda: killed(puts(pairs(200))), [recovered, {**recovered, "new": "1"}])
    yield Trace("close with a flush", ["--db", "s", "put", "new", "1"],
                lambda: lab.must("--db", "s", "apply", "--batch", "40", stdin=puts(big)),
                [big, {**big, "new": "1"}])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beach", default="target/release/beach")
    parser.add_argument("--dir")
    parser.add_argument("--only")
    args = parser.parse_args()
    if shutil.which("strace") is None:
        raise SystemExit("strace is not installed")
    root = os.path.realpath(tempfile.mkdtemp(prefix="beach-kill-", dir=args.dir))
    lab = Lab(os.path.abspath(args.beach), root)
    kills, missed, broken = 0, 0, 0
    for trace in traces(lab):
        if args.only and trace.name != args.only:
            continue
        shutil.rmtree(os.path.join(root, "s"), ignore_errors=True)
        saved = os.path.join(root, "saved")
        shutil.rmtree(saved, ignore_errors=True)
        if trace.prepare:
            trace.prepare()
            shutil.copytree(os.path.join(root, "s"), saved)
        if trace.name == "recover and put":
            # Reading changes nothing, so this tells what a recovery must find.
            base, why = lab.content("s")
            assert base, why
            trace.expected = [base, {**base, "new": "1"}]
        by_call, unreached = collections.Counter(), []
        for (call, path), count in sorted(recorded(lab, trace, saved).items(), key=str):
            for visit in range(1, count + 1):
                done = kill(lab, trace, saved, call, path, visit)
                # Whether one thread or another does it may differ from run to run.
                if done.returncode == 0:
                    unreached.append(f"{call} {visit} of {path}")
                by_call[call] += done.returncode != 0
                found = wrong(lab, trace, done)
                if found:
                    broken += 1
                    kept = os.path.join(root, f"broken-{broken}")
                    kill(lab, trace, saved, call, path, visit)
                    shutil.copytree(os.path.join(root, "s"), kept)
                    where = path or "standard output"
                    print(f"BROKEN {trace.name}: {call} {visit} of {where}: {found}; kept: {kept}")
        kills += sum(by_call.values())
        missed += len(unreached)
        counts = ", ".join(f"{call} {count}" for call, count in sorted(by_call.items()))
        print(f"{trace.name}: {sum(by_call.values())} kills ({counts})", flush=True)
        if unreached:
            print(f"  not reached: {', '.join(unreached)}")
    print(f"{kills} kills at system calls, {missed} not reached, {broken} broken promises")
    if not broken:
        shutil.rmtree(root)
    return 1 if broken or not kills else 0


if __name__ == "__main__":
    sys.exit(main())
