"""Two nodes over one target, what Patroni and the store say of them, and a witness that looks for two primaries."""

import contextlib
import json
import shutil
import tempfile
import threading
import urllib.error
import urllib.request

import psycopg2

import targets
from patience import eventually
from patroni_cluster.node import ASK_TIMEOUT_S, SCOPE, Node
from patroni_cluster.postgres import Runner

START_S = 90
SETTLE_S = 60
LEADER_KEY = f"/v2/keys/service/{SCOPE}/leader"
PAUSE_S = 0.1


class Witness(threading.Thread):
    """Asks both PostgreSQL servers all the time, and remembers when both took writes at one moment."""

    def __init__(self, nodes):
        super().__init__(daemon=True)
        self.nodes = nodes
        self.two_primaries = 0
        self.looks = 0
        self._end = threading.Event()

    def run(self):
        first, second = self.nodes
        while not self._end.wait(PAUSE_S):
            # The first, the second, and the first again: it was a primary throughout when it is one twice.
            both = first.is_primary() and second.is_primary() and first.is_primary()
            self.two_primaries += both
            self.looks += 1

    def stop(self):
        self._end.set()
        self.join()


class Cluster:
    """A target and two nodes named `a` and `b`. `stop` ends all of it."""

    def __init__(self, name, gateways):
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            self.target = stack.enter_context(targets.running(name, gateways=gateways))
            home = tempfile.mkdtemp(prefix="patroni-")
            stack.callback(shutil.rmtree, home, ignore_errors=True)
            runner = Runner(home)
            self.nodes = [Node(name, runner, self.target.urls) for name in ("a", "b")]
            for node in self.nodes:
                stack.callback(node.stop)
            self.witness = Witness(self.nodes)
            self._stack = stack.pop_all()

    def start(self):
        for node in self.nodes:
            node.start()
        self.witness.start()
        self._stack.callback(self.witness.stop)

    def stop(self):
        self._stack.close()

    def node(self, name):
        return next(node for node in self.nodes if node.name == name)

    def other(self, node):
        return next(other for other in self.nodes if other is not node)

    def leader_node(self, url):
        """The leader's key in the store as a gateway shows it, or None."""
        try:
            with urllib.request.urlopen(url + LEADER_KEY, timeout=ASK_TIMEOUT_S) as answer:
                return json.load(answer)["node"]
        except (OSError, urllib.error.HTTPError):
            return None

    def members(self):
        """What Patroni says of its members, as seen by any node that answers: by name."""
        for node in self.nodes:
            answer = node.ask("/cluster")
            if answer and answer[0] == 200:
                return {member["name"]: member for member in json.loads(answer[1])["members"]}
        return {}

    def settled(self):
        """The primary, when all agree: the store, Patroni, and both servers; and the other one follows it."""
        held = self.leader_node(self.target.url)
        members = self.members()
        if not held or len(members) != 2:
            return None
        primary = self.node(held["value"])
        replica = self.other(primary)
        agreed = (
            members[primary.name]["role"] == "leader"
            and members[replica.name]["state"] == "streaming"
            and members[replica.name].get("timeline") == members[primary.name].get("timeline")
            and primary.is_primary()
            and not replica.is_primary()
        )
        return primary if agreed else None

    def wait_settled(self, what, within_s=SETTLE_S):
        return eventually(what, self.settled, within_s, PAUSE_S)

    def timeline(self):
        """PostgreSQL's timeline of the settled cluster: it moves with every promotion."""
        return max(member.get("timeline", 0) for member in self.members().values())

    def has_row(self, node, text):
        """Whether a node shows the row."""
        try:
            return node.sql(f"SELECT 1 FROM proof WHERE row = '{text}'") == [(1,)]
        except psycopg2.Error:
            return False

    def write_row(self, node, text):
        node.sql(f"INSERT INTO proof VALUES ('{text}')")
