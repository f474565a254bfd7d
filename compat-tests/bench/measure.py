"""Measures a server under load: what wrk saw, and what the kernel says the server used meanwhile.

Not a plan of what to measure: see bench.py.
"""

import dataclasses
import json
import os
import statistics
import subprocess

import targets

LUA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lua")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class BenchFailed(Exception):
    """A measurement that would not be worth its number: refused or broken requests, or none at all."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """One cell: requests a second, latencies in microseconds, and the server's CPU time a request."""

    rate: float
    p50_us: float
    p99_us: float
    cpu_us: float


def median(samples):
    """The sample made of each figure's median."""
    fields = [field.name for field in dataclasses.fields(samples[0])]
    return type(samples[0])(**{name: statistics.median(getattr(sample, name) for sample in samples) for name in fields})


def cpu_seconds(pid):
    """User and system time that a process has used."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def peak_memory_mb(pid):
    """The most that a process ever had resident."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def wrk(server, script, url, clients, seconds):
    """Runs wrk on a server for some seconds. One wrk thread, so that the server keeps a core of two."""
    program = targets.program("WRK_BIN", os.path.join(targets.TOOLS, "bin", "wrk"), "wrk")
    argv = [program, "--threads=1", f"--connections={clients}", f"--duration={seconds}s", "--timeout=10s"]
    before = cpu_seconds(server.pid)
    done = subprocess.run(
        [*argv, "--script", script, url], cwd=LUA, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    used = cpu_seconds(server.pid) - before
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    if done.returncode != 0 or line is None:
        raise BenchFailed(f"wrk {script} {url} failed:\n{done.stdout}{done.stderr}")
    return sample(json.loads(line.removeprefix("RESULT ")), used, f"{server.name}: {script} {url}")


def sample(result, cpu_s, what):
    """A sample of a run that went well; a run with any failed request is none."""
    if result["refused"] or result["broken"] or not result["requests"]:
        raise BenchFailed(f"{what}: {result}")
    rate = result["requests"] / (result["duration_us"] / 1e6)
    return Sample(rate, result["p50_us"], result["p99_us"], cpu_s * 1e6 / result["requests"])
