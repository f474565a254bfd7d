"""Starts one server under test, on free loopback ports, in a directory of its own, and stops it by its pid.

A target is a name (`etcd`, `embedded`, `dynoxide`, `ministack`, `dynamodb-local`) that becomes a running server
with a base URL. Readiness is read from what the server itself prints; nothing polls and nothing sleeps. Every
process that is started is a child of this one and ends with the `with` block.

It is not a test and knows nothing about keys. As a program it starts a target, prints its URLs, and holds it
until its standard input closes; or it runs a command with the endpoint of a bare engine in a variable:

    python3 targets.py embedded
    python3 targets.py engine dynamodb-local DYNAMODB_LOCAL_URL COMMAND...
"""

import collections
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
TOOLS = os.path.join(REPO, "compat-tests", ".tools")

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
TABLE = "etcdynamo-clients"
ANY_PORT = "http://127.0.0.1:0"


class StartFailed(Exception):
    """A server ended, or said nothing, before it was ready. Carries the end of what it printed."""


class StopFailed(Exception):
    """A server had to be killed, or ended with another code than it should."""


def program(variable, *places):
    """The path of a program: what the environment names, else the first of `places` that exists."""
    named = os.environ.get(variable)
    if named:
        return named
    for place in places:
        found = shutil.which(place)
        if found:
            return found
    raise StartFailed(f"{places[-1]} not found: set {variable} or run compat-tests/run, which installs it")


def free_port():
    """A loopback port that nobody listens on now. Another process may take it first: see `retrying`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """One child process whose readiness is a line of its output. Its output is kept in a file and drained always."""

    def __init__(self, name, argv, log_path, ready, env=None):
        self.name = name
        self.argv = argv
        self.ready = re.compile(ready)
        self.tail = collections.deque(maxlen=30)
        self.matched = None
        self._known = threading.Event()
        self._log_path = log_path
        self._env = env
        self._log = open(log_path, "a", encoding="utf-8")
        self.child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self):
        return self.child.pid

    def _read(self):
        for line in self.child.stdout:
            self._log.write(line)
            self._log.flush()
            self.tail.append(line)
            if self.matched is None:
                self.matched = self.ready.search(line)
                if self.matched:
                    self._known.set()
        self._known.set()

    def wait_ready(self):
        """Waits for the ready line and returns its match."""
        told = self._known.wait(START_TIMEOUT_S)
        if self.matched:
            return self.matched
        why = "ended before it was ready" if told else f"was not ready after {START_TIMEOUT_S} s"
        text = "".join(self.tail)
        self.stop(None)
        raise StartFailed(f"{self.name} {why}; its last lines:\n{text}")

    def kill(self):
        """Ends it as a crash does."""
        self.child.kill()
        self.child.wait()
        self._close()

    def _close(self):
        self._reader.join(STOP_TIMEOUT_S)
        self.child.stdout.close()
        self._log.close()

    def again(self, argv):
        """A new process in the place of this one, which has ended."""
        return Process(self.name, argv, self._log_path, self.ready.pattern, self._env)

    def stop(self, expected_code):
        """Asks it to end, and waits. `expected_code` None accepts any way of ending but being killed."""
        with contextlib.suppress(ProcessLookupError):
            self.child.send_signal(signal.SIGTERM)
        try:
            code = self.child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise StopFailed(f"{self.name} did not end within {STOP_TIMEOUT_S} s of SIGTERM") from None
        finally:
            self._close()
        if expected_code is not None and code != expected_code:
            raise StopFailed(f"{self.name} ended with code {code}, not {expected_code}:\n" + "".join(self.tail))


def retrying(start):
    """Runs `start` again when a chosen port was taken by somebody else in between."""
    for _ in range(3):
        try:
            return start()
        except StartFailed as failure:
            if "address already in use" not in str(failure).lower():
                raise
            last = failure
    raise last


class Target:
    """A running server: `urls` is where clients go, `server` the process to measure.

    A server on a table has the table's `engine` beside it, which answers at `endpoint`, and may be one of several
    gateways: `servers` has them all, each with its URL in the same place of `urls`.
    """

    def __init__(self, name, urls, servers, engine=None, endpoint=None):
        self.name = name
        self.urls = urls
        self.servers = servers
        self.engine = engine
        self.endpoint = endpoint

    @property
    def server(self):
        return self.servers[0]

    @property
    def url(self):
        return self.urls[0]

    def kill(self, which):
        """Kills one server as a crash does. What it stands on stays."""
        self.servers[which].kill()

    def restart(self, which):
        """Starts a killed server again, on the same port and the same data."""
        argv = [argument.replace(ANY_PORT, self.urls[which]) for argument in self.servers[which].argv]
        self.servers[which] = self.servers[which].again(argv)
        self.servers[which].wait_ready()

    def stop(self):
        """Stops the servers, then what they stood on. etcd ends by the signal itself, etcdynamo must end with 0."""
        with contextlib.ExitStack() as stack:
            if self.engine:
                stack.callback(self.engine.stop, expected_code=None)
            for server in self.servers:
                stack.callback(server.stop, expected_code=-signal.SIGTERM if self.name == "etcd" else 0)


def start_etcd(directory):
    """Real etcd with its v2 API, one member."""

    def once():
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        data = tempfile.mkdtemp(prefix="etcd-", dir=directory)
        argv = [
            program("ETCD_BIN", os.path.join(TOOLS, "bin", "etcd"), "etcd"),
            "--enable-v2",
            "--name=a",
            f"--data-dir={data}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=a={peer}",
        ]
        server = Process("etcd", argv, os.path.join(directory, "etcd.log"), "serving insecure client requests")
        server.wait_ready()
        return Target("etcd", [client], [server])

    return retrying(once)


def etcdynamo(directory, *flags, url=ANY_PORT, env=None):
    """Starts etcdynamo. Returns its process and the URLs that it says it listens on."""
    binary = program("ETCDYNAMO_BIN", os.path.join(REPO, "target", "release", "etcdynamo"))
    argv = [binary, "--listen-client-urls", url, *flags]
    server = Process("etcdynamo", argv, os.path.join(directory, "etcdynamo.log"), r"^listening on (\S.*)$", env)
    urls = re.split(r"[,\s]+", server.wait_ready().group(1).strip())
    return server, urls


def start_embedded(directory, flags):
    """etcdynamo on its own file."""
    server, urls = etcdynamo(directory, "--data-dir", os.path.join(directory, "data"), *flags)
    return Target("embedded", urls, [server])


def start_gateways(directory, count, flags):
    """Gateways on one table, each of which tells clients of all. Returns their processes and URLs."""
    if count == 1:
        server, urls = etcdynamo(directory, *flags, env=AWS_ENV)
        return [server], urls

    def once():
        urls = [f"http://127.0.0.1:{free_port()}" for _ in range(count)]
        with contextlib.ExitStack() as started:
            servers = []
            for url in urls:
                all_flags = (*flags, "--advertise-client-urls", ",".join(urls))
                server, _ = etcdynamo(directory, *all_flags, url=url, env=AWS_ENV)
                started.callback(server.stop, expected_code=None)
                servers.append(server)
            started.pop_all()
            return servers, urls

    return retrying(once)


def start_on_table(name, directory, gateways, flags):
    """etcdynamo on a table of a DynamoDB engine."""
    engine, endpoint = start_engine(name, directory)
    flags = ("--table", TABLE, "--create-table", "--region", "us-east-1", "--endpoint-url", endpoint, *flags)
    try:
        servers, urls = start_gateways(directory, gateways, flags)
    except StartFailed:
        engine.stop(expected_code=None)
        raise
    return Target(name, urls, servers, engine, endpoint)


AWS_ENV = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}


def dynoxide_command(port):
    """Dynoxide, in memory."""
    binary = program("DYNOXIDE_BIN", os.path.join(TOOLS, "dynoxide", "bin", "dynoxide"), "dynoxide")
    return [binary, "serve", "--host", "127.0.0.1", "--port", str(port)], {}, "listening on"


def ministack_command(port):
    """MiniStack, DynamoDB only."""
    binary = program("MINISTACK_BIN", os.path.join(TOOLS, "venv", "bin", "ministack"), "ministack")
    env = {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "EDGE_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",
        "SERVICES": "dynamodb,dynamodbstreams",
    }
    return [binary], env, "Running on"


def dynamodb_local_command(port):
    """Amazon's DynamoDB Local. It listens on every interface, and is there only for those who took its licence."""
    home = os.environ.get("DYNAMODB_LOCAL_DIR") or os.path.join(TOOLS, "dynamodb-local", "package", "emulator")
    jar, libs = os.path.join(home, "DynamoDBLocal.jar"), os.path.join(home, "DynamoDBLocal_lib")
    argv = ["java", f"-Djava.library.path={libs}", "-jar", jar, "-disableTelemetry", "-sharedDb", "-inMemory"]
    return [*argv, "-port", str(port)], {}, "CorsParams"


ENGINES = {"dynoxide": dynoxide_command, "ministack": ministack_command, "dynamodb-local": dynamodb_local_command}


def start_engine(name, directory):
    """A DynamoDB engine. Returns its process and endpoint."""

    def once():
        port = free_port()
        argv, env, ready = ENGINES[name](port)
        engine = Process(name, argv, os.path.join(directory, f"{name}.log"), ready, env)
        engine.wait_ready()
        return engine, f"http://127.0.0.1:{port}"

    return retrying(once)


NAMES = ("etcd", "embedded", *ENGINES)


def start(name, directory, gateways=1, flags=()):
    """Starts the target called `name`; its data and logs go into `directory`.

    Only a table has several gateways, and the flags are etcdynamo's: no flag of its is etcd's business.
    """
    if name == "etcd":
        return start_etcd(directory)
    if name == "embedded":
        return start_embedded(directory, flags)
    if name in ENGINES:
        return start_on_table(name, directory, gateways, flags)
    raise StartFailed(f"no target is called {name!r}; there are {', '.join(NAMES)}")


@contextlib.contextmanager
def running(name, parent=None, gateways=1, flags=()):
    """A target for the length of a `with` block, in a temporary directory (in `parent`) that goes with it."""
    with tempfile.TemporaryDirectory(prefix=f"etcdynamo-{name}-", dir=parent) as directory:
        target = start(name, directory, gateways, flags)
        try:
            yield target
        finally:
            target.stop()


def hold(name):
    """Prints the URLs of a target and holds it until standard input closes."""
    with running(name) as target:
        print(",".join(target.urls), flush=True)
        sys.stdin.read()
    return 0


def with_engine(name, variable, command):
    """Runs a command with an engine's endpoint in an environment variable."""
    with tempfile.TemporaryDirectory(prefix=f"etcdynamo-{name}-") as directory:
        engine, endpoint = start_engine(name, directory)
        try:
            return subprocess.run(command, env={**os.environ, variable: endpoint}).returncode
        finally:
            engine.stop(expected_code=None)


def main(argv):
    """As a program; see the top of this file."""
    if len(argv) == 2 and argv[1] in NAMES:
        return hold(argv[1])
    if len(argv) > 4 and argv[1] == "engine" and argv[2] in ENGINES:
        return with_engine(argv[2], argv[3], argv[4:])
    print(f"usage: targets.py {'|'.join(NAMES)}\n       targets.py engine NAME VARIABLE COMMAND...", file=sys.stderr)
    return 64


if __name__ == "__main__":
    sys.exit(main(sys.argv))
