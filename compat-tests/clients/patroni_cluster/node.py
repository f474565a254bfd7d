"""One node: a Patroni process and the PostgreSQL that it runs. Started, asked, killed as by a crash, stopped."""

import contextlib
import json
import os
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import psycopg2

import targets
from patience import eventually

SCOPE = "compat"
# Patroni's least TTL. A replica watches the leader's key, for as long as `loop_wait`, so that shall not be short.
TTL_S, LOOP_WAIT_S, RETRY_TIMEOUT_S = 20, 5, 5
ASK_TIMEOUT_S = 5
STOP_TIMEOUT_S = 30

PARAMETERS = {
    "shared_buffers": "16MB",
    "max_connections": 20,
    "fsync": False,
    "full_page_writes": True,
    "jit": False,
    "wal_keep_size": "64MB",
}


def configuration(name, home, programs, urls, rest_port, sql_port):
    """Patroni's configuration, which is YAML, of which JSON is a part."""
    local = [f"{kind} all 127.0.0.1/32 trust" for kind in ("host all", "host replication")]
    return {
        "scope": SCOPE,
        "name": name,
        "restapi": {"listen": f"127.0.0.1:{rest_port}", "connect_address": f"127.0.0.1:{rest_port}"},
        "etcd": {"hosts": [urllib.parse.urlsplit(url).netloc for url in urls]},
        "bootstrap": {
            "dcs": {
                "ttl": TTL_S,
                "loop_wait": LOOP_WAIT_S,
                "retry_timeout": RETRY_TIMEOUT_S,
                "postgresql": {"use_pg_rewind": True, "use_slots": True},
            },
            "initdb": [{"encoding": "UTF8"}, {"locale": "C"}],
        },
        "postgresql": {
            "listen": f"127.0.0.1:{sql_port}",
            "connect_address": f"127.0.0.1:{sql_port}",
            "data_dir": os.path.join(home, "data"),
            "bin_dir": programs,
            "use_unix_socket": True,
            "use_unix_socket_repl": True,
            "pgpass": os.path.join(home, "pgpass"),
            "authentication": {
                "superuser": {"username": "postgres", "password": "p"},
                "replication": {"username": "replicator", "password": "r"},
            },
            "parameters": {**PARAMETERS, "unix_socket_directories": home},
            "pg_hba": ["local all all trust", "local replication all trust", *local],
        },
    }


class Node:
    """A node of the cluster, with its own directory and ports. It is not running until `start`."""

    def __init__(self, name, runner, urls):
        self.name = name
        self.runner = runner
        self.home = os.path.join(runner.home, name)
        os.mkdir(self.home)
        self.rest_port, self.sql_port = targets.free_port(), targets.free_port()
        self.log_path = os.path.join(runner.home, f"{name}.log")
        self.config_path = os.path.join(self.home, "patroni.yml")
        config = configuration(name, self.home, runner.programs, urls, self.rest_port, self.sql_port)
        with open(self.config_path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        for path in (self.home, self.config_path):
            os.chown(path, runner.options.get("user", -1), runner.options.get("group", -1))
        self.patroni = None

    def start(self):
        argv = [self.runner.python, "-W", "ignore", "-m", "patroni", self.config_path]
        self.patroni = self.runner.start(argv, self.log_path)

    def postgres_pid(self):
        """The process id of PostgreSQL's first process, which its data directory tells, or None."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(os.path.join(self.home, "data", "postmaster.pid"), encoding="ascii") as file:
                return int(file.readline())
        return None

    def kill(self):
        """Kills Patroni and then PostgreSQL as a crash of the machine does."""
        self.patroni.kill()
        self.patroni.wait()
        self.kill_postgres()

    def runs_postgres(self, pid):
        """Whether this process is ours: the file that names it outlives a crash, and the number may be used again."""
        try:
            return os.readlink(f"/proc/{pid}/cwd").startswith(self.home)
        except OSError:
            return False

    def kill_postgres(self):
        """Kills PostgreSQL's first process, and waits until it is gone. The others end when they see that."""
        pid = self.postgres_pid()
        if pid is None or not self.runs_postgres(pid):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        eventually(f"{self.name}'s PostgreSQL is gone", lambda: not self.runs_postgres(pid))

    def stop(self):
        """Stops Patroni, which stops PostgreSQL; kills what does not end."""
        if self.patroni is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.patroni.send_signal(signal.SIGTERM)
        try:
            self.patroni.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.patroni.kill()
            self.patroni.wait()
        self.kill_postgres()

    def ask(self, path, body=None):
        """What Patroni's REST API answers, or None where nobody does."""
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.rest_port}{path}", data)
        try:
            with urllib.request.urlopen(request, timeout=STOP_TIMEOUT_S if body else ASK_TIMEOUT_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()
        except OSError:
            return None

    def connect(self):
        """A connection to PostgreSQL, each statement its own transaction. Raises psycopg2.Error."""
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.sql_port, user="postgres", dbname="postgres", connect_timeout=ASK_TIMEOUT_S
        )
        connection.autocommit = True
        return connection

    def sql(self, statement):
        """The rows of a statement; none where it gives none. Raises psycopg2.Error."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def is_primary(self):
        """Whether PostgreSQL itself says that it takes writes; not, where it does not answer."""
        try:
            return self.sql("SELECT pg_is_in_recovery()") == [(False,)]
        except psycopg2.Error:
            return False

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()
