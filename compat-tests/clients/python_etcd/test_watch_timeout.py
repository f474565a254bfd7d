"""python-etcd on a server that ends silent watches. It has no word of its own for an empty answer: `watch` raises its
general exception, upon which a caller asks again from the same index, as its own lock does.
"""

import concurrent.futures

import etcd

from python_etcd.client import ClientCase, connect
from support import PATIENCE_S, eventually, silence


class WatchTimeout(ClientCase):
    def test_a_silent_watch_raises_and_misses_nothing_when_it_is_asked_again(self):
        index = self.client.write(self.key("f"), "1").modifiedIndex + 1
        for _ in range(3):
            with self.assertRaises(etcd.EtcdException) as caught:
                self.client.watch(self.key("f"), index=index, timeout=PATIENCE_S)
            self.assertIn("not valid JSON", str(caught.exception))
        self.client.write(self.key("f"), "2")
        self.assertEqual(self.client.watch(self.key("f"), index=index, timeout=PATIENCE_S).value, "2")

    def test_events_come_while_it_is_not_silent(self):
        index = self.client.write(self.key("f"), "0").modifiedIndex + 1
        for value in range(1, 20):
            self.client.write(self.key("f"), str(value))
            event = self.client.watch(self.key("f"), index=index, timeout=PATIENCE_S)
            self.assertEqual(event.value, str(value))
            index = event.modifiedIndex + 1

    def test_a_lock_waits_through_silences(self):
        first, second = (etcd.Lock(connect(), self.home[1:]) for _ in range(2))
        first.acquire(blocking=False)
        with concurrent.futures.ThreadPoolExecutor(1) as pool, self.assertLogs("etcd.lock", "ERROR") as told:
            waiting = pool.submit(second.acquire, timeout=PATIENCE_S)
            silence(2)
            eventually("the lock asked again", lambda: told.output)
            self.assertFalse(waiting.done())
            first.release()
            self.assertTrue(waiting.result(PATIENCE_S))
        second.release()
