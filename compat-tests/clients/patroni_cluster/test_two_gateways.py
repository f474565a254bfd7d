"""The story of a cluster over two gateways on one table, and what the loss of one of them must not do."""

from patience import eventually
from patroni_cluster import story
from patroni_cluster.cluster import PAUSE_S
from patroni_cluster.node import TTL_S


class TwoGateways(story.Story):
    GATEWAYS = 2

    def test_6_the_leader_stays_when_one_gateway_is_killed(self):
        target = self.cluster.target
        leader = self.cluster.wait_settled("one primary and its replica")
        timeline = self.cluster.timeline()
        # Patroni talks to one of them, whichever it chose: each is killed in its turn.
        for killed, left in ((0, 1), (1, 0)):
            held = self.cluster.leader_node(target.urls[left])
            target.kill(killed)
            now = eventually(
                "the key is renewed through the other gateway",
                lambda: self.renewed(target.urls[left], held),
                TTL_S + story.SLACK_S,
                PAUSE_S,
            )
            self.assertEqual(now["value"], leader.name)
            target.restart(killed)
        self.assertIs(self.replicate("after each gateway was lost"), leader)
        self.assertEqual(self.cluster.timeline(), timeline, "there was a promotion")
