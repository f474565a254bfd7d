"""python-etcd on files: reads, writes, conditions, TTLs, and the exceptions it makes of errors."""

import datetime

import etcd

from python_etcd.client import ClientCase, connect
from support import EXPIRY_GRACE_S, URLS, eventually


class Write(ClientCase):
    def test_a_new_key_and_a_known_one(self):
        first = self.client.write(self.key("f"), "1")
        self.assertEqual((first.action, first.key, first.value, first.newKey), ("set", self.key("f"), "1", True))
        second = self.client.set(self.key("f"), "2")
        self.assertEqual((second.value, second.newKey, second._prev_node.value), ("2", False, "1"))
        self.assertGreater(second.modifiedIndex, first.modifiedIndex)
        self.assertEqual(second.createdIndex, second.modifiedIndex)

    def test_a_read_gives_back_what_was_written(self):
        value = 'ünïcode & <b> + %41\n{"json": [1, 2]}'
        self.client.write(self.key("ключ с пробелом"), value)
        self.assertEqual(self.client.read(self.key("ключ с пробелом")).value, value)

    def test_a_large_value(self):
        value = "0123456789abcdef" * 16 * 1024
        self.client.write(self.key("f"), value)
        self.assertEqual(self.client.get(self.key("f")).value, value)

    def test_an_empty_value(self):
        self.client.write(self.key("f"), "")
        self.assertEqual(self.client.get(self.key("f")).value, "")

    def test_prev_exist_false_creates_once(self):
        created = self.client.write(self.key("f"), "1", prevExist=False)
        self.assertEqual((created.action, created.newKey), ("create", True))
        message = f"Key already exists : {self.key('f')}"
        self.refused(etcd.EtcdAlreadyExist, message, self.client.write, self.key("f"), "2", prevExist=False)

    def test_prev_exist_true_only_updates(self):
        self.client.write(self.key("f"), "1")
        updated = self.client.write(self.key("f"), "2", prevExist=True)
        self.assertEqual((updated.action, updated.newKey), ("update", False))
        message = f"Key not found : {self.key('none')}"
        self.refused(etcd.EtcdKeyNotFound, message, self.client.write, self.key("none"), "2", prevExist=True)

    def test_append_makes_keys_in_order(self):
        made = [self.client.write(self.key("q"), value, append=True) for value in "abc"]
        for result in made:
            self.assertEqual((result.action, result.newKey), ("create", True))
            self.assertRegex(result.key, rf"^{self.key('q')}/\d{{20}}$")
        self.assertEqual([r.key for r in made], sorted(r.key for r in made))
        self.assertEqual([int(r.key.rsplit("/", 1)[1]) for r in made], [r.createdIndex for r in made])

    def test_on_a_directory(self):
        self.client.write(self.key("d"), None, dir=True)
        self.refused(etcd.EtcdNotFile, f"Not a file : {self.key('d')}", self.client.write, self.key("d"), "v")

    def test_below_a_file(self):
        self.client.write(self.key("f"), "v")
        message = f"Not a directory : {self.key('f')}"
        self.refused(etcd.EtcdNotDir, message, self.client.write, self.key("f/g"), "v")

    def test_on_the_root(self):
        self.refused(etcd.EtcdRootReadOnly, "Root is read only : /", self.client.write, "/", "v")


class Read(ClientCase):
    def test_carries_the_indexes(self):
        written = self.client.write(self.key("f"), "v")
        read = self.client.read(self.key("f"), quorum=True)
        self.assertEqual(
            (read.action, read.modifiedIndex, read.createdIndex),
            ("get", written.modifiedIndex, written.createdIndex),
        )
        self.assertGreaterEqual(read.etcd_index, written.modifiedIndex)
        self.assertGreater(read.raft_index, 0)

    def test_a_missing_key_names_the_first_missing_part(self):
        self.client.write(self.key("f"), "v")
        message = f"Key not found : {self.key('none')}"
        self.refused(etcd.EtcdKeyNotFound, message, self.client.read, self.key("none/below"))
        self.assertNotIn(self.key("none"), self.client)
        self.assertIn(self.key("f"), self.client)

    def test_through_every_url(self):
        self.client.write(self.key("f"), "v")
        self.assertEqual([connect(url).get(self.key("f")).value for url in URLS], ["v"] * len(URLS))


class Conditions(ClientCase):
    def test_test_and_set(self):
        self.client.write(self.key("f"), "old")
        swapped = self.client.test_and_set(self.key("f"), "new", "old")
        self.assertEqual((swapped.action, swapped.value, swapped._prev_node.value), ("compareAndSwap", "new", "old"))
        call, key = self.client.test_and_set, self.key("f")
        error = self.refused(etcd.EtcdCompareFailed, "Compare failed : [old != new]", call, key, "x", "old")
        self.assertIsInstance(error, ValueError)

    def test_by_index(self):
        index = self.client.write(self.key("f"), "v").modifiedIndex
        after = self.client.write(self.key("f"), "w", prevIndex=index).modifiedIndex
        message = f"Compare failed : [{index} != {after}]"
        self.refused(etcd.EtcdCompareFailed, message, self.client.write, self.key("f"), "x", prevIndex=index)

    def test_value_index_and_existence_together(self):
        index = self.client.write(self.key("f"), "v").modifiedIndex
        conditions = {"prevValue": "v", "prevIndex": index, "prevExist": True}
        self.assertEqual(self.client.write(self.key("f"), "w", **conditions).action, "compareAndSwap")

    def test_index_zero_is_no_condition(self):
        self.assertEqual(self.client.write(self.key("f"), "v", prevIndex=0).action, "set")

    def test_update_of_a_result(self):
        self.client.write(self.key("f"), "v")
        mine, other = self.client.get(self.key("f")), self.client.get(self.key("f"))
        mine.value, other.value = "mine", "other"
        self.assertEqual(self.client.update(mine).action, "compareAndSwap")
        message = f"Compare failed : [{other.modifiedIndex} != {self.client.get(self.key('f')).modifiedIndex}]"
        self.refused(etcd.EtcdCompareFailed, message, self.client.update, other)

    def test_delete(self):
        self.client.write(self.key("f"), "is")
        message = "Compare failed : [said != is]"
        self.refused(etcd.EtcdCompareFailed, message, self.client.delete, self.key("f"), prevValue="said")
        gone = self.client.delete(self.key("f"), prevValue="is")
        self.assertEqual((gone.action, gone.value, gone._prev_node.value), ("compareAndDelete", None, "is"))

    def test_pop_gives_the_value_that_was(self):
        index = self.client.write(self.key("f"), "v").modifiedIndex
        self.assertEqual(self.client.pop(self.key("f"), prevIndex=index).value, "v")
        message = f"Key not found : {self.home}/f"
        self.refused(etcd.EtcdKeyNotFound, message, self.client.pop, self.key("f"))


class Ttl(ClientCase):
    def test_a_key_with_one_says_so(self):
        written = self.client.write(self.key("f"), "v", ttl=60)
        read = self.client.get(self.key("f"))
        self.assertEqual(written.ttl, 60)
        self.assertTrue(60 - EXPIRY_GRACE_S < read.ttl <= 60, read.ttl)
        self.assertEqual(read.expiration, written.expiration)
        expiration = datetime.datetime.fromisoformat(read.expiration[:19] + "+00:00")
        left = (expiration - datetime.datetime.now(datetime.UTC)).total_seconds()
        self.assertAlmostEqual(left, 60, delta=EXPIRY_GRACE_S)

    def test_it_goes_when_its_time_is_over(self):
        self.client.write(self.key("keep"), "v")
        self.client.write(self.key("f"), "v", ttl=1)
        eventually("the key goes", lambda: self.key("f") not in self.client, 1 + EXPIRY_GRACE_S)
        self.assertEqual([leaf.key for leaf in self.client.read(self.home).leaves], [self.key("keep")])

    def test_refresh_keeps_the_value(self):
        created = self.client.write(self.key("f"), "v", ttl=20)
        refreshed = self.client.refresh(self.key("f"), ttl=100)
        self.assertEqual((refreshed.action, refreshed.value, refreshed.ttl), ("update", "v", 100))
        self.assertEqual(refreshed.createdIndex, created.createdIndex)
        self.assertGreater(refreshed.modifiedIndex, created.modifiedIndex)

    def test_refresh_with_a_condition(self):
        index = self.client.write(self.key("f"), "v", ttl=20).modifiedIndex
        refreshed = self.client.refresh(self.key("f"), ttl=100, prevIndex=index)
        self.assertEqual((refreshed.action, refreshed.value, refreshed.ttl), ("compareAndSwap", "v", 100))
        message = f"Compare failed : [{index} != {refreshed.modifiedIndex}]"
        self.refused(etcd.EtcdCompareFailed, message, self.client.refresh, self.key("f"), ttl=100, prevIndex=index)

    def test_refresh_of_a_missing_key(self):
        self.client.write(self.key("f"), "v")
        message = f"Key not found : {self.key('none')}"
        self.refused(etcd.EtcdKeyNotFound, message, self.client.refresh, self.key("none"), ttl=10)

    def test_a_bad_one_is_a_value_error(self):
        with self.assertRaises(etcd.EtcdValueError) as caught:
            self.client.write(self.key("f"), "v", ttl="soon")
        expected = 'The given TTL in POST form is not a number : invalid value for "ttl"'
        self.assertEqual(str(caught.exception), expected)
