"""Watches of python-etcd and the lock that waits by them. Chosen by the runner only where the server has watches."""

import concurrent.futures
import itertools
import threading

import etcd

from python_etcd.client import ClientCase, connect
from support import PATIENCE_S, eventually, put


class Watch(ClientCase):
    def test_from_a_past_index(self):
        first = self.client.write(self.key("f"), "1")
        second = self.client.write(self.key("f"), "2")
        self.client.write(self.key("f"), "3")
        event = self.client.watch(self.key("f"), index=first.modifiedIndex + 1, timeout=PATIENCE_S)
        self.assertEqual((event.value, event.modifiedIndex), ("2", second.modifiedIndex))
        self.assertEqual(event._prev_node.value, "1")
        self.assertGreater(event.etcd_index, second.modifiedIndex)

    def test_read_then_watch_misses_nothing(self):
        self.client.write(self.key("d/f"), "1")
        index = self.client.read(self.key("d"), recursive=True).etcd_index
        self.client.write(self.key("d/g"), "2")
        event = self.client.watch(self.key("d"), index=index + 1, recursive=True, timeout=PATIENCE_S)
        self.assertEqual((event.action, event.key, event.newKey), ("set", self.key("d/g"), False))

    def test_it_times_out_at_the_client(self):
        with self.assertRaises(etcd.EtcdWatchTimedOut):
            self.client.watch(self.key("f"), timeout=0.2)
        self.assertEqual(self.client.write(self.key("f"), "v").action, "set")

    def test_from_now(self):
        stop = threading.Event()

        def write():
            for value in itertools.takewhile(lambda _: not stop.wait(0.02), itertools.count()):
                put(self.key("f"), value)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            event = self.client.watch(self.key("f"), timeout=PATIENCE_S)
        finally:
            stop.set()
            writer.join()
        self.assertEqual((event.action, event.key), ("set", self.key("f")))

    def test_eternal_watch_sees_all_in_order(self):
        index = self.client.write(self.key("d/f"), "start").modifiedIndex
        wanted = [str(value) for value in range(50)]

        def follow():
            events = connect().eternal_watch(self.key("d"), index=index + 1, recursive=True)
            return [event.value for event in itertools.islice(events, len(wanted))]

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            seen = pool.submit(follow)
            for value in wanted:
                self.client.write(self.key("d/f"), value)
            self.assertEqual(seen.result(PATIENCE_S), wanted)

    def test_an_expiry(self):
        written = self.client.write(self.key("f"), "v", ttl=1)
        event = self.client.watch(self.key("f"), index=written.modifiedIndex + 1, timeout=PATIENCE_S)
        self.assertEqual((event.action, event._prev_node.value), ("expire", "v"))

    def test_a_refresh_is_not_an_event(self):
        written = self.client.write(self.key("f"), "v", ttl=60)
        self.client.refresh(self.key("f"), ttl=100)
        self.client.delete(self.key("f"))
        event = self.client.watch(self.key("f"), index=written.modifiedIndex + 1, timeout=PATIENCE_S)
        self.assertEqual(event.action, "delete")


class WaitingLock(ClientCase):
    def lock(self):
        return etcd.Lock(connect(), self.home[1:])

    def waiting(self, count):
        """Whether as many as `count` stand in the lock's queue."""
        results = self.client.read(f"/_locks{self.home}", recursive=True).leaves
        return len([result for result in results if not result.dir]) >= count

    def test_the_next_in_line_gets_it_when_it_is_free(self):
        first, second = self.lock(), self.lock()
        first.acquire(blocking=False)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(second.acquire, timeout=PATIENCE_S)
            eventually("the second waits", lambda: self.waiting(2))
            self.assertFalse(second.is_acquired)
            first.release()
            self.assertTrue(waiting.result(PATIENCE_S))
        self.assertTrue(second.is_acquired)
        second.release()

    def test_the_next_in_line_gets_it_when_the_holder_is_late(self):
        first, second = self.lock(), self.lock()
        first.acquire(blocking=False, lock_ttl=1)
        self.assertTrue(second.acquire(timeout=PATIENCE_S))
        self.assertFalse(first.is_acquired)
        second.release()

    def test_one_holder_at_a_time(self):
        inside, rounds = [], []

        def work(name):
            for _ in range(5):
                with self.lock():
                    inside.append(name)
                    rounds.append(len(inside))
                    self.client.read(f"/_locks{self.home}")
                    inside.remove(name)

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(work, name) for name in range(4)]:
                done.result(2 * PATIENCE_S)
        self.assertEqual(rounds, [1] * 20)
