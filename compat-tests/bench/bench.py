"""Measures etcdynamo beside a real single-node etcd 3.4 v2, on one disk, in one run, in turns.

    bench.py [--seconds N] [--rounds N] [--part embedded|watches|dynamodb] [--subject NAME] [--strict]

- embedded: etcdynamo on its own file beside etcd, both driven by wrk with one thread.
- watches: the same two, with ten thousand idle watchers, and with one write that wakes a thousand.
- dynamodb: etcdynamo on a table of dynoxide, beside a bare loop of the AWS SDK that does the same single call.

Each cell runs for some seconds on one server, then on the other; the next round goes the other way round; the table
has the medians. Ratios are etcdynamo to its neighbour. `--subject etcd` measures etcd beside a second etcd, and shows
what a ratio on this machine is worth. A missed aim is marked, and fails the run only with `--strict`; a request that
was refused or broken always does.

Absolute figures are this machine's, shared by the servers and the load; only the ratios are worth keeping.
"""

import argparse
import collections
import contextlib
import os
import statistics
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "clients"))

import dynamodb  # noqa: E402
import keys  # noqa: E402
import measure  # noqa: E402
import table  # noqa: E402
import targets  # noqa: E402
import watches  # noqa: E402

# A cell: its name, wrk's script, the path, how many clients, and the least ratio of rates it aims at.
Cell = collections.namedtuple("Cell", "name script path clients aim")

STEADY = (
    Cell("GET one key", "get.lua", keys.ONE, 64, 2),
    Cell("GET a directory of 100", "get.lua", keys.HUNDRED, 64, None),
    Cell("GET 1,000 nodes, recursive", "get.lua", f"{keys.THOUSAND}?recursive=true", 64, 3),
    Cell("PUT existing keys", "put.lua", keys.KNOWN, 1, None),
    Cell("PUT existing keys", "put.lua", keys.KNOWN, 16, None),
    Cell("PUT existing keys", "put.lua", keys.KNOWN, 64, 2),
)
# Last, and not counted in peak memory: the faster server would be charged for the keys it made more.
GROWING = (Cell("create new keys", "create.lua", keys.NEW, 64, None),)

MEMORY_AIM, CPU_AIM = 0.3, 0.4


def run_cell(cell, target, seconds, round_number):
    """One cell on one server."""
    path = f"{cell.path}/{round_number}" if cell in GROWING else cell.path
    return measure.wrk(target.server, cell.script, target.url + path, cell.clients, seconds)


def run_rounds(cells, pair, options):
    """All cells on both servers, in turns; gives back the medians by cell, one for each server."""
    samples = collections.defaultdict(lambda: ([], []))
    for round_number in range(options.rounds):
        for cell in cells:
            order = (0, 1) if round_number % 2 == 0 else (1, 0)
            for which in order:
                sample = run_cell(cell, pair[which], options.seconds, round_number)
                samples[cell][which].append(sample)
            print(f"round {round_number + 1}: {cell.name}, {cell.clients} clients", file=sys.stderr)
    return {cell: tuple(map(measure.median, both)) for cell, both in samples.items()}


def start_time_ms(name, directory):
    """The median time from starting a new server to its first answer."""

    def once():
        with tempfile.TemporaryDirectory(dir=directory) as home:
            began = time.monotonic()
            target = targets.start(name, home)
            connection = keys.connect(target.url)
            keys.request(connection, "GET", "/v2/keys/")
            took = time.monotonic() - began
            connection.close()
            target.stop()
            return took * 1000

    return statistics.median(once() for _ in range(5))


def bench_embedded(options, directory):
    """etcdynamo's embedded store beside etcd. Prints the tables; gives back whether all aims were met."""
    names = ("etcd", options.subject)
    starts = [start_time_ms(name, directory) for name in names]
    with contextlib.ExitStack() as stack:
        pair = [stack.enter_context(targets.running(name, directory)) for name in names]
        for target in pair:
            keys.fill(target.url)
        results = run_rounds(STEADY, pair, options)
        memory = [measure.peak_memory_mb(target.server.pid) for target in pair]
        results |= run_rounds(GROWING, pair, options)
    rows = [table.rate_row(cell, *results[cell], CPU_AIM if cell.clients == 64 else None) for cell in results]
    met = table.show_rates(names, rows)
    figures = [
        table.Figure("peak memory, MB, before creating", *memory, MEMORY_AIM),
        table.Figure("start to first answer, ms", *starts, None),
    ]
    return table.show_figures(names, figures) and met


PARTS = {"embedded": bench_embedded, "watches": watches.bench, "dynamodb": dynamodb.bench}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    number = {"type": int, "metavar": "N"}
    parser.add_argument("--seconds", default=int(os.environ.get("BENCH_SECONDS", "3")), help="for each cell", **number)
    parser.add_argument("--rounds", default=int(os.environ.get("BENCH_ROUNDS", "3")), help="of all cells", **number)
    parser.add_argument("--part", choices=[*PARTS], help="only this one")
    parser.add_argument("--subject", choices=["embedded", "etcd"], default="embedded", help="what stands beside etcd")
    parser.add_argument("--strict", action="store_true", help="a missed aim fails the run")
    options = parser.parse_args()
    met = True
    # Beside the tools and not in /tmp, which may be memory: durable writes have to meet a disk.
    with tempfile.TemporaryDirectory(prefix="bench-", dir=targets.TOOLS) as directory:
        for name, bench in PARTS.items():
            if options.part in (None, name):
                met &= bench(options, directory)
    return 0 if met or not options.strict else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (measure.BenchFailed, targets.StartFailed, targets.StopFailed) as failure:
        sys.exit(f"bench: {failure}")
