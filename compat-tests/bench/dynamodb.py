"""The DynamoDB half of the bench: etcdynamo on a dynoxide table beside a bare loop of the AWS SDK.

The loop (sdk-loop, a package of its own) makes the single call that etcdynamo should make for the same request: a
consistent GetItem for a GET, a conditional UpdateItem for a PUT on an existing key. So the ratio of CPU is the price of
being an etcd server, whatever the engine behind costs.
"""

import collections
import contextlib
import json
import os
import subprocess
import sys

import keys
import measure
import table
import targets

CLIENTS = 16
CPU_AIM = 1.5
LOOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sdk-loop")

Cell = collections.namedtuple("Cell", "name script path call clients aim")
CELLS = (
    Cell("GET one key", "get.lua", keys.ONE, "get", CLIENTS, None),
    Cell("PUT existing keys", "put.lua", keys.KNOWN, "put", CLIENTS, None),
)


def build_loop():
    """Builds the loop and gives back the program."""
    target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(targets.TOOLS, "sdk-loop-target")
    manifest = os.path.join(LOOP, "Cargo.toml")
    subprocess.run(
        ["cargo", "build", "--quiet", "--release", "--locked", "--manifest-path", manifest, "--target-dir", target],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return os.path.join(target, "release", "sdk-loop")


def run_loop(program, endpoint, call, seconds):
    """The loop's own measurement of itself, on etcdynamo's table beside etcdynamo's keys."""
    done = subprocess.run(
        [program, endpoint, targets.TABLE, call, str(CLIENTS), str(seconds)],
        env={**os.environ, **targets.AWS_ENV},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise measure.BenchFailed(f"sdk-loop {call}: {done.stdout}{done.stderr}")
    result = json.loads(done.stdout)
    return measure.sample(result, result["cpu_s"], f"sdk-loop {call}")


def run_rounds(program, target, options):
    """All cells, the loop and etcdynamo in turns; the medians by cell."""
    samples = collections.defaultdict(lambda: ([], []))
    for round_number in range(options.rounds):
        for cell in CELLS:
            loop, subject = samples[cell]
            loop.append(run_loop(program, target.endpoint, cell.call, options.seconds))
            url = target.url + cell.path
            subject.append(measure.wrk(target.server, cell.script, url, cell.clients, options.seconds))
            print(f"round {round_number + 1}: {cell.name}, on DynamoDB", file=sys.stderr)
    return {cell: tuple(map(measure.median, both)) for cell, both in samples.items()}


def bench(options, directory):
    """Prints the table; gives back whether all aims were met."""
    program = build_loop()
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(targets.running("dynoxide", directory))
        keys.fill(target.url)
        results = run_rounds(program, target, options)
    rows = [table.rate_row(cell, *results[cell], CPU_AIM) for cell in results]
    return table.show_rates(("SDK loop", "etcdynamo on dynoxide"), rows)
