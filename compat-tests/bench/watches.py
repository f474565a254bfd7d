"""Measures watches beside etcd: the memory of idle ones, and how soon one write reaches many.

Each sample is taken on a server that was started for it, since memory that was given back is used again. When an event
arrived is what the kernel noted as it came in, so that a busy load generator does not make a server look late.
"""

import dataclasses
import http.client
import resource
import socket
import statistics
import struct
import sys
import time
import urllib.parse

import keys
import measure
import table
import targets

IDLE, WOKEN, WRITES = 10_000, 1_000, 20
MEMORY_AIM, LATENCY_AIM = 0.2, 1.0
# The server's and the load generator's files: a connection each, and some beside.
FILES = IDLE + WOKEN + 1_000
WATCHED = "/v2/keys/bench/watched"
SO_TIMESTAMPNS = 35
TIMESPEC = struct.Struct("qq")
TIMEOUT_S = 60


@dataclasses.dataclass(frozen=True)
class Sample:
    """One server: the memory that one idle watcher takes, and when a write arrived at the watchers."""

    memory_kb: float
    p50_ms: float
    p99_ms: float
    last_ms: float


def allow_files():
    """Lets this process and the servers that it starts hold a connection for each watcher."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= FILES:
        return
    if hard != resource.RLIM_INFINITY and hard < FILES:
        raise measure.BenchFailed(f"{IDLE} watchers need {FILES} open files, and no more than {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))


def resident_kb(pid):
    """What a process has in memory now."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        line = next(line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1])


class Watcher:
    """A connection on which one watch after another waits."""

    def __init__(self, url, path):
        parts = urllib.parse.urlsplit(url)
        self._request = f"GET {path}?wait=true HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
        self._socket = socket.create_connection((parts.hostname, parts.port), TIMEOUT_S)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    def ask(self):
        self._socket.sendall(self._request)

    def wait_begun(self):
        """Waits for the head of the answer: from then on, no event is missed."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._receive(4096)[0]
        if not head.startswith(b"HTTP/1.1 200 "):
            raise measure.BenchFailed(f"a watch was refused: {head.decode(errors='replace')}")

    def wait_event(self):
        """Waits for the event and the end of the answer. Gives back when its last byte came in, in ns since 1970."""
        text, arrived = b"", None
        while not text.endswith(b"\r\n0\r\n\r\n"):
            data, arrived = self._receive(4096)
            text += data
        if arrived is None:
            raise measure.BenchFailed("this kernel does not say when data came in")
        return arrived

    def _receive(self, size):
        """What came in, and when, where the kernel says so."""
        data, ancillary, _, _ = self._socket.recvmsg(size, socket.CMSG_SPACE(TIMESPEC.size))
        if not data:
            raise measure.BenchFailed("the server ended a watch")
        for level, kind, noted in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                seconds, nanoseconds = TIMESPEC.unpack(noted)
                return data, seconds * 10**9 + nanoseconds
        return data, None

    def close(self):
        self._socket.close()


def watch_all(watchers):
    """Begins a watch on each."""
    for watcher in watchers:
        watcher.ask()
    for watcher in watchers:
        watcher.wait_begun()


def idle_memory_kb(target, watchers):
    """Opens the idle watchers, into `watchers`, each on a key of its own; gives back the memory of one."""
    before = resident_kb(target.server.pid)
    for batch in range(0, IDLE, 100):
        new = [Watcher(target.url, f"{WATCHED}/idle/{n}") for n in range(batch, batch + 100)]
        watchers += new
        watch_all(new)
    return (resident_kb(target.server.pid) - before) / IDLE


def wake_ms(target, connection, watchers):
    """Writes once, and gives back how long it took to each of the watchers, in order."""
    watch_all(watchers)
    began = time.time_ns()
    keys.request(connection, "PUT", f"{WATCHED}/one", f"value={keys.VALUE}")
    return sorted((watcher.wait_event() - began) / 10**6 for watcher in watchers)


def sample(name, directory):
    """A sample of a new server."""
    watchers = []
    flags = () if name == "etcd" else ("--max-connections", str(FILES))
    with targets.running(name, directory, flags=flags) as target:
        try:
            connection = keys.connect(target.url)
            keys.request(connection, "PUT", f"{WATCHED}/one", f"value={keys.VALUE}")
            memory = idle_memory_kb(target, watchers)
            woken = [Watcher(target.url, f"{WATCHED}/one") for _ in range(WOKEN)]
            watchers += woken
            waits = [wake_ms(target, connection, woken) for _ in range(WRITES)]
        except (OSError, http.client.HTTPException) as failure:
            raise measure.BenchFailed(f"{name}: {failure!r}") from failure
        finally:
            for watcher in watchers:
                watcher.close()
    places = (WOKEN // 2, WOKEN * 99 // 100, WOKEN - 1)
    return Sample(memory, *(statistics.median(wait[place] for wait in waits) for place in places))


def bench(options, directory):
    """Watches of etcd and of the subject. Prints the table; gives back whether all aims were met."""
    allow_files()
    names = ("etcd", options.subject)
    samples = ([], [])
    for round_number in range(options.rounds):
        for which in (0, 1) if round_number % 2 == 0 else (1, 0):
            samples[which].append(sample(names[which], directory))
        print(f"round {round_number + 1}: {IDLE:,} idle watchers, {WRITES} writes to {WOKEN:,}", file=sys.stderr)
    beside, subject = map(measure.median, samples)
    arrived = f"one write to {WOKEN:,} watchers, beside {IDLE:,} idle: ms to"
    figures = [
        table.Figure("memory of an idle watcher, KB", beside.memory_kb, subject.memory_kb, MEMORY_AIM),
        table.Figure(f"{arrived} the middle one", beside.p50_ms, subject.p50_ms, LATENCY_AIM),
        table.Figure(f"{arrived} 99 in 100", beside.p99_ms, subject.p99_ms, LATENCY_AIM),
        table.Figure(f"{arrived} the last", beside.last_ms, subject.last_ms, LATENCY_AIM),
    ]
    return table.show_figures(names, figures)
