"""Replays of confd -watch, Traefik 1.7 and SkyDNS. Chosen by the runner only where the server has watches."""

import concurrent.futures
import threading
import uuid

from replays.wire import Refused, Watcher, Wire, files
from support import EXPIRY_GRACE_S, PATIENCE_S, Case, eventually, put

# More than any server here remembers.
MANY_EVENTS = 1_100


class ReplayCase(Case):
    def wire(self):
        wire = Wire()
        self.addCleanup(wire.close)
        return wire

    def watcher(self, *arguments):
        watcher = Watcher(*arguments)
        self.addCleanup(watcher.close)
        return watcher


class Confd(ReplayCase):
    """confd 0.16 watches from now, each time anew, and reads everything when it wakes."""

    def test_what_it_renders_is_the_tree_after_the_last_event(self):
        put(f"{self.home}/a", "0")
        rendered, stop = {}, threading.Event()

        def confd():
            wire = Wire()
            while not stop.is_set():
                wire.get(self.home, quorum=False, recursive=True, sorted=False, wait=True, waitIndex=0)
                event, _ = wire.read(self.home)
                rendered.update(files(event["node"]))

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(confd)
            for value in range(20):
                put(f"{self.home}/{value % 3}", value)

            # What falls between two watches wakes nobody: that is confd's own, so the last word is repeated.
            def is_rendered():
                put(f"{self.home}/last", "word")
                return rendered.get(f"{self.home}/last") == "word"

            eventually("the last word is rendered", is_rendered)
            stop.set()
            eventually("it ends", lambda: put(f"{self.home}/last", "word") or running.done())
            running.result()
        wanted = {f"{self.home}/{n % 3}": str(n) for n in range(20)}
        self.assertEqual(rendered, {f"{self.home}/a": "0", **wanted, f"{self.home}/last": "word"})


class Traefik(ReplayCase):
    """Traefik 1.7 watches by the Go client, and reads every setting of its own, most of which are not there."""

    def test_each_change_is_seen_once_and_in_order(self):
        put(f"{self.home}/backends/b/servers/s/url", "0")
        _, index = self.wire().read(self.home)
        watcher = self.watcher(self.home, index)
        for value in range(1, 30):
            put(f"{self.home}/backends/b/servers/s/url", value)
            event = watcher.next()
            self.assertEqual((event["action"], event["node"]["value"]), ("set", str(value)))

    def test_a_watch_from_too_long_ago_is_refused_and_begins_anew_after_a_read(self):
        put(f"{self.home}/f", "0")
        _, index = self.wire().read(self.home)
        for value in range(MANY_EVENTS):
            put(f"{self.home}/f", value)
        with self.assertRaises(Refused) as caught:
            self.watcher(self.home, index).next()
        self.assertEqual(caught.exception.code, 401)
        event, index = self.wire().read(self.home)
        self.assertEqual(files(event["node"]), {f"{self.home}/f": str(MANY_EVENTS - 1)})
        watcher = self.watcher(self.home, index)
        put(f"{self.home}/f", "after")
        self.assertEqual(watcher.next()["node"]["value"], "after")

    def test_settings_that_are_not_there_are_refused_with_an_index(self):
        wire = self.wire()
        for name in ("loadbalancer/sticky", "maxconn/amount", "healthcheck/path"):
            with self.assertRaises(Refused) as caught:
                wire.read(f"{self.home}/backends/b/{name}")
            self.assertEqual(caught.exception.code, 100)
            self.assertGreater(caught.exception.index, 0)


class SkyDns(ReplayCase):
    """SkyDNS answers each DNS query by one recursive GET, and its services live by their TTL."""

    def test_a_query_shows_every_service_that_was_registered_before_it(self):
        wire, wanted = self.wire(), {}
        for n in range(20):
            key = f"{self.home}/skydns/local/web/{uuid.uuid4().hex}"
            wanted[key] = f'{{"host":"10.0.0.{n}"}}'
            put(key, wanted[key])
            event, _ = wire.get(f"{self.home}/skydns/local/web", quorum=False, recursive=True, sorted=False)
            self.assertEqual(files(event["node"]), wanted)

    def test_a_service_that_is_not_renewed_is_gone_and_a_stub_watcher_hears_of_it(self):
        key = f"{self.home}/skydns/local/web/a"
        put(key, "{}")
        _, index = self.wire().read(self.home)
        watcher = self.watcher(f"{self.home}/skydns", index)
        put(key, "{}", ttl=1)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            actions = [pool.submit(watcher.next).result(PATIENCE_S)["action"]]
            actions.append(pool.submit(watcher.next).result(1 + EXPIRY_GRACE_S)["action"])
        self.assertEqual(actions, ["set", "expire"])
        event, _ = self.wire().read(f"{self.home}/skydns/local/web")
        self.assertEqual(files(event["node"]), {})
