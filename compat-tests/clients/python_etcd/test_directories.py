"""python-etcd on directories, and on what it asks about the cluster."""

import etcd

from python_etcd.client import ClientCase, connect
from support import EXPIRY_GRACE_S, URLS, eventually


class Directories(ClientCase):
    def fill(self):
        for name in ("a", "b/c", "b/d/e", "_hidden", "f/_h"):
            self.client.write(self.key(name), name)
        self.client.write(self.key("empty"), None, dir=True)

    def names(self, results):
        return [result.key.removeprefix(self.home + "/") for result in results]

    def test_made_and_made_again(self):
        made = self.client.write(self.key("d"), None, dir=True)
        self.assertEqual((made.action, made.dir, made.newKey), ("set", True, True))
        message = f"Not a file : {self.key('d')}"
        self.refused(etcd.EtcdNotFile, message, self.client.write, self.key("d"), None, dir=True)

    def test_one_level(self):
        self.fill()
        read = self.client.read(self.home, sorted=True)
        self.assertTrue(read.dir)
        self.assertEqual(self.names(read.children), ["a", "b", "empty", "f"])

    def test_the_whole_tree(self):
        self.fill()
        read = self.client.read(self.home, recursive=True, sorted=True)
        self.assertEqual(self.names(read.leaves), ["a", "b/c", "b/d/e", "empty", "f"])
        self.assertEqual(self.names(read.get_subtree())[1:], ["a", "b", "b/c", "b/d", "b/d/e", "empty", "f"])

    def test_removed_when_empty(self):
        self.fill()
        call = self.client.delete
        self.refused(etcd.EtcdNotFile, f"Not a file : {self.key('b')}", call, self.key("b"))
        self.refused(etcd.EtcdDirNotEmpty, f"Directory not empty : {self.key('b')}", call, self.key("b"), dir=True)
        gone = call(self.key("empty"), dir=True)
        self.assertEqual((gone.action, gone.dir), ("delete", True))

    def test_removed_with_all_below(self):
        self.fill()
        self.client.delete(self.key("b"), recursive=True)
        self.assertEqual(self.names(self.client.read(self.home, sorted=True).children), ["a", "empty", "f"])
        message = f"Key not found : {self.key('b')}"
        self.refused(etcd.EtcdKeyNotFound, message, self.client.read, self.key("b/d/e"))

    def test_update_of_a_directory_sets_its_ttl(self):
        self.client.write(self.key("d/f"), "v")
        directory = self.client.read(self.key("d"))
        directory.ttl, directory.value = 2, None
        self.assertEqual(self.client.update(directory).action, "update")
        self.assertEqual(self.client.read(self.key("d/f")).value, "v")
        eventually("the tree goes", lambda: self.key("d/f") not in self.client, 2 + EXPIRY_GRACE_S)
        self.assertNotIn(self.key("d"), self.client)


class Cluster(ClientCase):
    def test_machines_name_the_urls_that_clients_use(self):
        self.assertTrue(set(URLS) <= set(self.client.machines), self.client.machines)

    def test_members_are_keyed_by_their_id(self):
        members = self.client.members
        self.assertTrue(members)
        for identity, member in members.items():
            self.assertEqual(member["id"], identity)
            self.assertTrue(member["clientURLs"] and member["name"])

    def test_the_leader_is_a_member(self):
        self.assertIn(self.client.leader["id"], self.client.members)

    def test_versions(self):
        self.assertRegex(self.client.version, r"^\d+\.\d+\.\d+")
        self.assertRegex(self.client.cluster_version, r"^\d+\.\d+\.\d+")

    def test_statistics(self):
        self.assertIn(self.client.stats["id"], self.client.members)
        self.assertEqual(self.client.leader_stats["leader"], self.client.leader["id"])
        before = self.client.store_stats["setsSuccess"]
        self.client.write(self.key("f"), "v")
        self.assertGreater(self.client.store_stats["setsSuccess"], before)

    def test_the_cluster_id_never_changes(self):
        self.client.write(self.key("f"), "v")
        identity = self.client.expected_cluster_id
        self.assertRegex(identity, r"^[0-9a-f]{1,16}$")
        for url in URLS:
            other = connect(url, expected_cluster_id=identity)
            self.assertEqual(other.read(self.key("f")).value, "v")

    def test_reconnection_learns_the_machines(self):
        client = connect(allow_reconnect=True)
        client.write(self.key("f"), "v")
        client._machines_cache = [client._base_uri]
        client._base_uri = "http://127.0.0.1:1"
        self.assertEqual(client.read(self.key("f")).value, "v")
