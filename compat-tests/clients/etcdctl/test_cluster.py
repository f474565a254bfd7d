"""What etcdctl says of the cluster: its members, their health, and the sync that precedes every other command."""

import re
import subprocess

from etcdctl.ctl import BINARY, ENV, CtlCase, run
from support import PATIENCE_S, URLS

MEMBER = re.compile(r"^([0-9a-f]{1,16}): name=(\S+) peerURLs=(\S*) clientURLs=(\S+) isLeader=(true|false)$")


class Members(CtlCase):
    def members(self):
        result = run("member", "list")
        self.assertEqual((result.code, result.err), (0, ""))
        found = [MEMBER.match(line) for line in result.out.splitlines()]
        self.assertTrue(found and all(found), result.out)
        return [match.groups() for match in found]

    def test_exactly_one_leads(self):
        self.assertEqual([member[4] for member in self.members()].count("true"), 1)

    def test_they_name_the_urls_that_clients_use(self):
        named = {url for member in self.members() for url in member[3].split(",")}
        self.assertTrue(set(URLS) <= named, f"{URLS} is not within {named}")

    def test_all_are_healthy(self):
        result = run("cluster-health")
        self.assertEqual((result.code, result.err), (0, ""))
        *members, last = result.out.splitlines()
        self.assertEqual(last, "cluster is healthy")
        self.assertEqual(len(members), len(self.members()))
        for line in members:
            self.assertRegex(line, r"^member [0-9a-f]+ is healthy: got healthy result from http://\S+$")


class Sync(CtlCase):
    def test_commands_go_on_to_the_members(self):
        result = run("--debug", "set", self.home + "/f", "v")
        self.assertEqual(result.code, 0)
        self.assertIn(f"curl -X GET {URLS[0]}/v2/members\n", result.err + result.out)
        self.assertIn(f"curl -X PUT {URLS[0]}/v2/keys{self.home}/f", result.err + result.out)

    def test_a_dead_endpoint_is_passed_over(self):
        endpoints = f"http://127.0.0.1:1,{URLS[0]}"
        argv = [BINARY, "--endpoints", endpoints, "set", self.home + "/f", "v"]
        done = subprocess.run(
            argv, env=ENV, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S
        )
        self.assertEqual((done.returncode, done.stdout), (0, "v\n"), done.stderr)
