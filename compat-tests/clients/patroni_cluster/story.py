"""The life of a cluster as tests that follow one another, each on what the one before left: their names are in order.

Everything is waited for with a deadline. After each test there is one primary, one replica that follows it, and
every row that was ever acknowledged and replicated; and at no moment were there two primaries.
"""

import os
import unittest

from patience import eventually
from patroni_cluster.cluster import PAUSE_S, SETTLE_S, START_S, Cluster
from patroni_cluster.node import LOOP_WAIT_S, TTL_S

# Beside the TTL: the store's own sweep, PostgreSQL's promotion, and a busy machine.
SLACK_S = 20


class Story(unittest.TestCase):
    """Runs on the target that `COMPAT_TARGET` names."""

    GATEWAYS = 1

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(os.environ["COMPAT_TARGET"], cls.GATEWAYS)
        cls.addClassCleanup(cls.cluster.stop)
        cls.rows = []
        cls.cluster.start()

    def tearDown(self):
        result = self._outcome.result
        if all(test is not self for test, _ in (*result.failures, *result.errors)):
            return
        for node in self.cluster.nodes:
            print(f"== the end of {node.name}'s log ==", *node.log().splitlines()[-60:], sep="\n")

    def replicate(self, row):
        """Writes a row on the primary and reads it, and all before it, on the replica."""
        primary = self.cluster.wait_settled(f"one primary and its replica, before writing {row!r}")
        self.cluster.write_row(primary, row)
        self.rows.append(row)
        replica = self.cluster.other(primary)
        for wanted in self.rows:
            self.assertTrue(self.cluster.has_row(primary, wanted), f"the primary has no {wanted!r}")
            eventually(f"{wanted!r} on the replica", lambda: self.cluster.has_row(replica, wanted), SETTLE_S, PAUSE_S)
        return primary

    def renewed(self, url, held):
        """Whether the leader's key was renewed since it was `held`, as one gateway shows it."""
        now = self.cluster.leader_node(url)
        return now if now and now["modifiedIndex"] > held["modifiedIndex"] else None

    def test_1_a_leader_is_elected_and_the_other_node_follows(self):
        primary = self.cluster.wait_settled("one primary and its replica", START_S)
        primary.sql("CREATE TABLE proof (row text)")

    def test_2_a_row_is_replicated(self):
        self.replicate("first")

    def test_3_a_switchover_keeps_the_rows(self):
        old = self.cluster.wait_settled("one primary and its replica")
        new = self.cluster.other(old)
        status, text = old.ask("/switchover", {"leader": old.name, "candidate": new.name})
        self.assertEqual(status, 200, text)
        eventually("the other one is the primary", lambda: self.cluster.settled() is new, SETTLE_S, PAUSE_S)
        self.assertIs(self.replicate("after the switchover"), new)

    def test_4_nobody_complained_of_the_store(self):
        # Of two that begin at once, one finds the cluster's first key taken: that is the election.
        expected = "etcd.EtcdAlreadyExist"
        for node in self.cluster.nodes:
            raised = [line for line in node.log().splitlines() if line.startswith("etcd.Etcd")]
            self.assertEqual([line for line in raised if not line.startswith(expected)], [], node.name)

    def test_5_the_store_is_killed_and_comes_back(self):
        target = self.cluster.target
        self.cluster.wait_settled("one primary and its replica")
        held = self.cluster.leader_node(target.url)
        for which in range(len(target.servers)):
            target.kill(which)
        for which in range(len(target.servers)):
            target.restart(which)
        # The leader renews its key, or it stepped down meanwhile and somebody took the key again.
        eventually("the key is renewed", lambda: self.renewed(target.url, held), TTL_S + SLACK_S, PAUSE_S)
        self.replicate("after the store came back")

    def test_7_the_primary_is_killed_and_the_replica_takes_over(self):
        killed = self.cluster.wait_settled("one primary and its replica")
        survivor = self.cluster.other(killed)
        timeline = self.cluster.timeline()
        killed.kill()
        eventually("the replica takes over", survivor.is_primary, TTL_S + SLACK_S, PAUSE_S)
        self.assertEqual(self.cluster.leader_node(self.cluster.target.url)["value"], survivor.name)
        for row in self.rows:
            self.assertTrue(self.cluster.has_row(survivor, row), f"{row!r} is lost")
        self.cluster.write_row(survivor, "while alone")
        self.rows.append("while alone")
        killed.start()
        self.assertIs(self.cluster.wait_settled("the killed one follows"), survivor)
        self.assertGreater(self.cluster.timeline(), timeline)
        self.replicate("after the failover")

    def test_8_there_were_never_two_primaries(self):
        self.assertGreater(self.cluster.witness.looks, LOOP_WAIT_S)
        self.assertEqual(self.cluster.witness.two_primaries, 0)
