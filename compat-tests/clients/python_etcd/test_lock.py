"""The lock of python-etcd where it need not wait: taking, renewing, refusing and giving back.

It makes an in-order key below the hidden directory `/_locks`, reads that directory recursively, and holds the lock
when its key is the first in order.
"""

import etcd

from python_etcd.client import ClientCase, connect
from support import EXPIRY_GRACE_S, eventually


class Lock(ClientCase):
    def lock(self, client=None):
        return etcd.Lock(client or self.client, self.home[1:])

    def queue(self):
        """The values in the lock's directory, in order."""
        results = self.client.read(f"/_locks{self.home}", recursive=True, sorted=True).leaves
        return [result.value for result in results if not result.dir]

    def test_taken_and_given_back(self):
        lock = self.lock()
        self.assertFalse(lock.is_acquired)
        self.assertTrue(lock.acquire(blocking=False))
        self.assertTrue(lock.is_acquired)
        self.assertEqual(self.queue(), [lock.uuid])
        lock.release()
        self.assertFalse(lock.is_acquired)
        self.assertEqual(self.queue(), [])

    def test_as_a_context(self):
        with self.lock() as lock:
            self.assertTrue(lock.is_acquired)
            self.assertEqual(self.queue(), [lock.uuid])
        self.assertEqual(self.queue(), [])

    def test_a_second_is_refused_until_it_is_free(self):
        first, second = self.lock(), self.lock(connect())
        self.assertTrue(first.acquire(blocking=False))
        self.assertFalse(second.acquire(blocking=False))
        self.assertFalse(second.is_acquired)
        self.assertEqual(self.queue(), [first.uuid, second.uuid])
        first.release()
        self.assertTrue(second.acquire(blocking=False))
        self.assertTrue(second.is_acquired)
        second.release()

    def test_renewed_by_taking_it_again(self):
        lock = self.lock()
        lock.acquire(blocking=False, lock_ttl=10)
        self.assertTrue(lock.acquire(blocking=False, lock_ttl=100))
        node = self.client.read(lock.lock_key)
        self.assertTrue(100 - EXPIRY_GRACE_S < node.ttl <= 100, node.ttl)
        self.assertEqual(self.queue(), [lock.uuid])
        lock.release()

    def test_lost_when_its_time_is_over(self):
        lock = self.lock()
        lock.acquire(blocking=False, lock_ttl=1)
        eventually("the lock is lost", lambda: not lock.is_acquired, 1 + EXPIRY_GRACE_S)
        other = self.lock(connect())
        self.assertTrue(other.acquire(blocking=False))
        other.release()

    def test_found_again_by_its_uuid(self):
        lock = self.lock()
        lock.acquire(blocking=False)
        again = self.lock(connect())
        again.uuid = lock.uuid
        self.assertEqual(again.lock_key, lock.lock_key)
        self.assertTrue(again.acquire(blocking=False))
        again.release()
        self.assertFalse(lock.is_acquired)
        with self.assertRaises(ValueError):
            again.uuid = "0" * 32
