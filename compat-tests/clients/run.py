"""Runs the client suites on targets, a fresh server for each suite, and says how many tests each had.

    python3 run.py [--results FILE] TARGET...

A suite passes when its runner ends well, at least one test ran, and none was skipped. With `COMPAT_URLS` set and the
one target `url`, the suites run on a server that is already there; Patroni's does not, because it kills its server
and starts it again.

It starts no test itself: etcdctl, python-etcd and Patroni run under unittest, node-etcd under Node's own runner.
"""

import argparse
import collections
import contextlib
import os
import re
import subprocess
import sys
import time

import targets

SUITE_TIMEOUT_S = 600
PYTHON = os.path.join(targets.TOOLS, "venv", "bin", "python")

# A suite gets the URLs of a server, or, where it names the targets `it_starts`, the name of one of them. One with
# `flags` needs an etcdynamo that is started with them.
Suite = collections.namedtuple("Suite", "name argv directory it_starts flags", defaults=(None, ()))


def python(name, package, *modules, **needs):
    argv = [PYTHON, "-W", "ignore::DeprecationWarning", "-m", "unittest", *(f"{package}.{m}" for m in modules)]
    return Suite(name, argv, targets.HERE, **needs)


def node(name, *files, **needs):
    argv = ["node", "--test", "--test-reporter=tap", *files]
    return Suite(name, argv, os.path.join(targets.HERE, "node"), **needs)


WATCH_TIMEOUT = {"flags": ("--watch-timeout-ms", "300")}

SUITES = (
    python("etcdctl", "etcdctl", "test_keys", "test_conditions", "test_cluster", "test_auth"),
    python("python-etcd", "python_etcd", "test_keys", "test_directories", "test_lock"),
    node("node-etcd", "keys.test.js", "cluster.test.js"),
    python("etcdctl watch", "etcdctl", "test_watch"),
    python("python-etcd watch", "python_etcd", "test_watch"),
    node("node-etcd watch", "watch.test.js"),
    python("replays", "replays", "test_tools"),
    python("etcdctl watch timeout", "etcdctl", "test_watch_timeout", **WATCH_TIMEOUT),
    python("python-etcd watch timeout", "python_etcd", "test_watch_timeout", **WATCH_TIMEOUT),
    node("node-etcd watch timeout", "watch-timeout.test.js", **WATCH_TIMEOUT),
    python("patroni", "patroni_cluster", "test_one_gateway", it_starts=("etcd", "embedded", "dynoxide")),
    python("patroni, 2 gateways", "patroni_cluster", "test_two_gateways", it_starts=tuple(targets.ENGINES)),
)

Outcome = collections.namedtuple("Outcome", "passed tests failed skipped output")


def is_for(suite, target):
    """Whether the suite runs on the target."""
    if suite.it_starts is not None:
        return target in suite.it_starts
    return not suite.flags or target not in ("etcd", "url")


def count(pattern, text):
    """The number that `pattern` finds, or 0."""
    found = re.search(pattern, text, re.MULTILINE)
    return int(found.group(1)) if found else 0


def counts(output):
    """How many tests there were, failed and were skipped, as unittest or Node's TAP put it."""
    if "TAP version" in output:
        failed = count(r"^# fail (\d+)", output) + count(r"^# cancelled (\d+)", output)
        return count(r"^# tests (\d+)", output), failed, count(r"^# (?:skipped|todo) ([1-9]\d*)", output)
    failed = count(r"\bfailures=(\d+)", output) + count(r"\berrors=(\d+)", output)
    return count(r"^Ran (\d+) tests?", output), failed, count(r"\bskipped=(\d+)", output)


def run_suite(suite, **where):
    """Runs one suite, which finds these variables."""
    env = {**os.environ, **where, "ETCDCTL_BIN": etcdctl()}
    try:
        done = subprocess.run(
            suite.argv,
            cwd=suite.directory,
            env=env,
            timeout=SUITE_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired as late:
        text = (late.output or b"").decode(errors="replace")
        return Outcome(False, 0, 0, 0, f"{text}\nnot finished after {SUITE_TIMEOUT_S} s")
    tests, failed, skipped = counts(done.stdout)
    passed = done.returncode == 0 and tests > 0 and failed == 0 and skipped == 0
    return Outcome(passed, tests, failed, skipped, done.stdout)


def etcdctl():
    return targets.program("ETCDCTL_BIN", os.path.join(targets.TOOLS, "bin", "etcdctl"), "etcdctl")


@contextlib.contextmanager
def urls_of(target, flags):
    """The URLs of a target for the length of a block."""
    if target == "url":
        yield os.environ["COMPAT_URLS"].split(",")
        return
    with targets.running(target, flags=flags) as server:
        yield server.urls


def run_on(target, suite):
    """Runs a suite on a fresh server. A server that does not start, or does not stop well, is a failure."""
    if suite.it_starts is not None:
        return run_suite(suite, COMPAT_TARGET=target)
    outcome = None
    try:
        with urls_of(target, suite.flags) as urls:
            outcome = run_suite(suite, COMPAT_URLS=",".join(urls))
        return outcome
    except (targets.StartFailed, targets.StopFailed) as failure:
        tests, failed, text = (outcome.tests, outcome.failed, outcome.output) if outcome else (0, 0, "")
        return Outcome(False, tests, failed, 0, f"{text}\n{failure}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", help="a file to which a line is added for each suite: tabs between its fields")
    parser.add_argument("targets", nargs="+", choices=[*targets.NAMES, "url"], metavar="TARGET")
    options = parser.parse_args()
    good = True
    for target in options.targets:
        for suite in SUITES:
            if not is_for(suite, target):
                continue
            began = time.monotonic()
            outcome = run_on(target, suite)
            seconds = f"{time.monotonic() - began:.1f}"
            verdict = "ok" if outcome.passed else "FAILED"
            good &= outcome.passed
            print(f"{target}: {suite.name}: {verdict}, {outcome.tests} tests, {seconds} s", flush=True)
            if not outcome.passed:
                print(outcome.output, flush=True)
            if options.results:
                with open(options.results, "a", encoding="utf-8") as results:
                    fields = (target, suite.name, outcome.tests, outcome.failed, seconds, verdict)
                    print(*fields, sep="\t", file=results)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
