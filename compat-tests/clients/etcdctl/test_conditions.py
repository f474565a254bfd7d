"""Compare-and-swap, compare-and-delete and TTLs through etcdctl, and the three output formats with their indexes."""

import datetime

from etcdctl.ctl import SERVER_ERROR, CtlCase
from support import EXPIRY_GRACE_S, eventually


class SwapWith(CtlCase):
    def test_the_right_value(self):
        self.ok("set", "/f", "old")
        self.prints("new\n", "set", "--swap-with-value", "old", "/f", "new")
        self.prints("new\n", "get", "/f")

    def test_the_wrong_value_shows_both(self):
        self.ok("set", "/f", "is")
        self.refused("101: Compare failed ([said != is])", "set", "--swap-with-value", "said", "/f", "new")
        self.prints("is\n", "get", "/f")

    def test_the_right_index(self):
        index = self.json("set", "/f", "old")["node"]["modifiedIndex"]
        self.prints("new\n", "set", "--swap-with-index", str(index), "/f", "new")

    def test_the_wrong_index_shows_both(self):
        index = self.json("set", "/f", "old")["node"]["modifiedIndex"]
        self.refused(f"101: Compare failed ([1 != {index}])", "set", "--swap-with-index", "1", "/f", "new")

    def test_both_wrong_shows_both_pairs(self):
        index = self.json("set", "/f", "is")["node"]["modifiedIndex"]
        flags = ("--swap-with-value", "said", "--swap-with-index", "1")
        self.refused(f"101: Compare failed ([said != is] [1 != {index}])", "set", *flags, "/f", "new")

    def test_a_missing_key(self):
        self.ok("mkdir", "/d")
        self.refused("100: Key not found (/d/none)", "set", "--swap-with-value", "v", "/d/none", "new")

    def test_a_directory(self):
        self.ok("mkdir", "/d")
        self.refused("102: Not a file (/d)", "set", "--swap-with-value", "v", "/d", "new")


class RemoveWith(CtlCase):
    def test_the_right_value_prints_an_empty_line(self):
        self.ok("set", "/f", "v")
        self.prints("\n", "rm", "--with-value", "v", "/f")
        self.refused("100: Key not found (/f)", "rm", "--with-value", "v", "/f")

    def test_the_wrong_value(self):
        self.ok("set", "/f", "is")
        self.refused("101: Compare failed ([said != is])", "rm", "--with-value", "said", "/f")
        self.prints("is\n", "get", "/f")

    def test_the_right_index(self):
        index = self.json("set", "/f", "v")["node"]["modifiedIndex"]
        self.prints("\n", "rm", "--with-index", str(index), "/f")

    def test_the_wrong_index(self):
        index = self.json("set", "/f", "v")["node"]["modifiedIndex"]
        self.refused(f"101: Compare failed ([1 != {index}])", "rm", "--with-index", "1", "/f")

    def test_a_directory(self):
        self.ok("mkdir", "/d")
        self.refused("102: Not a file (/d)", "rm", "--with-index", "1", "/d")


class Ttl(CtlCase):
    def assert_ttl(self, key, ttl):
        """The node has a TTL of at most `ttl` seconds, and an expiration that agrees with it."""
        node = self.json("ls", key)["node"]
        self.assertLessEqual(node["ttl"], ttl)
        self.assertGreater(node["ttl"], ttl - EXPIRY_GRACE_S)
        expiration = datetime.datetime.fromisoformat(node["expiration"][:19] + "+00:00")
        left = (expiration - datetime.datetime.now(datetime.UTC)).total_seconds()
        self.assertAlmostEqual(left, node["ttl"], delta=EXPIRY_GRACE_S)

    def assert_permanent(self, key):
        node = self.json("ls", key)["node"]
        self.assertNotIn("ttl", node)
        self.assertNotIn("expiration", node)

    def test_every_command_that_takes_one(self):
        for words in (("set", "/s", "v"), ("mk", "/m", "v"), ("mkdir", "/md"), ("setdir", "/sd")):
            self.ok(words[0], "--ttl", "100", *words[1:])
            self.assert_ttl(words[1], 100)
        self.ok("mk", "--in-order", "--ttl", "100", "/q", "v")
        self.assert_ttl(self.ok("ls", "/q").strip(), 100)

    def test_update_sets_it_and_takes_it_away(self):
        self.ok("set", "/f", "v")
        self.prints("w\n", "update", "--ttl", "40", "/f", "w")
        self.assert_ttl("/f", 40)
        self.ok("update", "/f", "w")
        self.assert_permanent("/f")

    def test_updatedir_sets_it_and_takes_it_away(self):
        self.ok("set", "/d/f", "v")
        self.prints("", "updatedir", "--ttl", "40", "/d")
        self.assert_ttl("/d", 40)
        self.ok("updatedir", "/d")
        self.assert_permanent("/d")
        self.prints("v\n", "get", "/d/f")

    def test_a_plain_set_takes_it_away(self):
        self.ok("set", "--ttl", "40", "/f", "v")
        self.ok("set", "/f", "v")
        self.assert_permanent("/f")

    def test_a_file_goes_when_its_time_is_over(self):
        self.ok("set", "/d/keep", "v")
        self.ok("set", "--ttl", "1", "/d/f", "v")
        eventually("the file goes", lambda: self.ctl("get", "/d/f").code == SERVER_ERROR, 1 + EXPIRY_GRACE_S)
        self.refused("100: Key not found (/d/f)", "get", "/d/f")
        self.prints("/d/keep\n", "ls", "/d")

    def test_a_directory_takes_its_tree_along(self):
        self.ok("mkdir", "--ttl", "2", "/d")
        self.ok("set", "/d/e/f", "v")
        eventually("the tree goes", lambda: self.ctl("get", "/d/e/f").code == SERVER_ERROR, 2 + EXPIRY_GRACE_S)
        self.prints("", "ls", "-r", "/")


class Formats(CtlCase):
    def test_extended_of_a_new_file(self):
        fields, value = self.extended("set", "/f", "v1")
        index = fields["Index"]
        self.assertGreater(int(index), 0)
        expected = {"Key": "/f", "Created-Index": index, "Modified-Index": index, "TTL": "0", "Index": index}
        self.assertEqual((fields, value), (expected, "v1\n"))

    def test_extended_of_a_replaced_file_has_the_value_before(self):
        self.ok("set", "/f", "v1")
        fields, value = self.extended("set", "--ttl", "100", "/f", "v2")
        self.assertEqual((fields["PrevNode.Value"], fields["TTL"], value), ("v1", "100", "v2\n"))

    def test_extended_of_a_removal(self):
        created = self.json("set", "/f", "v")["node"]["createdIndex"]
        fields, value = self.extended("rm", "/f")
        self.assertEqual(fields["Created-Index"], str(created))
        self.assertGreater(int(fields["Modified-Index"]), created)
        self.assertEqual((fields["Index"], fields["PrevNode.Value"]), (fields["Modified-Index"], "v"))
        self.assertEqual(value, "")

    def test_the_index_never_goes_back(self):
        indexes = [int(self.extended("set", f"/f{n % 2}", "v")[0]["Index"]) for n in range(6)]
        read = int(self.extended("get", "/f0")[0]["Index"])
        self.assertEqual(indexes, sorted(set(indexes)))
        self.assertGreaterEqual(read, indexes[-1])

    def test_json_of_a_replacement(self):
        before = self.json("set", "/f", "v1")["node"]
        answer = self.json("set", "/f", "v2")
        index = answer["node"]["modifiedIndex"]
        self.assertGreater(index, before["modifiedIndex"])
        node = {"key": "/f", "value": "v2", "nodes": None, "createdIndex": index, "modifiedIndex": index}
        self.assertEqual(answer, {"action": "set", "node": node, "prevNode": before})

    def test_json_of_each_action(self):
        actions = [
            self.json(*words)["action"]
            for words in (
                ("mk", "/f", "1"),
                ("set", "/f", "2"),
                ("update", "/f", "3"),
                ("set", "--swap-with-value", "3", "/f", "4"),
                ("get", "/f"),
                ("rm", "--with-value", "4", "/f"),
                ("mkdir", "/d"),
                ("updatedir", "/d"),
                ("rmdir", "/d"),
                ("setdir", "/d"),
            )
        ]
        expected = "create set update compareAndSwap get compareAndDelete create update delete set"
        self.assertEqual(actions, expected.split())

    def test_json_of_a_listing(self):
        self.ok("set", "/d/f", "v")
        self.ok("mkdir", "/d/e")
        node = self.json("ls", "--sort", "/d")["node"]
        self.assertTrue(node["dir"])
        shown = [(child["key"], child.get("dir", False), child["value"]) for child in node["nodes"]]
        self.assertEqual(shown, [("/d/e", True, ""), ("/d/f", False, "v")])
