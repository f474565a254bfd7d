"""watch and exec-watch of etcdctl. Chosen by the runner only where the server has watches."""

import contextlib
import json
import queue
import subprocess
import threading

from etcdctl.ctl import ENV, CtlCase, command
from support import PATIENCE_S, eventually, put


class Watcher:
    """An etcdctl that runs until it is stopped; its lines as they come."""

    def __init__(self, arguments):
        self.child = subprocess.Popen(
            command(*arguments), env=ENV, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        self.lines = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.child.stdout:
            self.lines.put(line)

    def line(self):
        """The next line it prints."""
        return self.lines.get(timeout=PATIENCE_S)

    def stop(self):
        self.child.kill()
        self.child.wait()
        self._reader.join()
        self.child.stdout.close()


class Watch(CtlCase):
    @contextlib.contextmanager
    def watching(self, *arguments):
        watcher = Watcher(self.inside(arguments))
        try:
            yield watcher
        finally:
            watcher.stop()

    def index_of(self, *arguments):
        return str(self.json(*arguments)["node"]["modifiedIndex"])

    def test_after_an_index_prints_the_event_after_it(self):
        index = self.index_of("set", "/f", "1")
        self.ok("set", "/other", "x")
        self.ok("set", "/f", "2")
        self.ok("set", "/f", "3")
        self.prints("2\n", "watch", "--after-index", index, "/f")

    def test_recursive_prints_action_and_key(self):
        index = self.index_of("set", "/d/f", "1")
        self.ok("set", "/d/e/g", "2")
        self.prints("[set] /d/e/g\n2\n", "watch", "-r", "--after-index", index, "/d")

    def test_directory_events_are_passed_over(self):
        index = self.index_of("set", "/d/f", "1")
        self.ok("mkdir", "/d/e")
        self.ok("set", "/d/e/g", "2")
        self.prints("[set] /d/e/g\n2\n", "watch", "-r", "--after-index", index, "/d")

    def test_json_is_the_event(self):
        before = self.json("set", "/f", "1")
        event = self.json("set", "/f", "2")
        index = str(before["node"]["modifiedIndex"])
        self.assertEqual(self.json("watch", "--after-index", index, "/f"), event)

    def test_extended_shows_the_indexes_of_the_event(self):
        index = self.index_of("set", "/f", "1")
        after = self.index_of("set", "/f", "2")
        self.ok("set", "/f", "3")
        fields, value = self.extended("watch", "--after-index", index, "/f")
        self.assertEqual((fields["Modified-Index"], fields["PrevNode.Value"], value), (after, "1", "2\n"))
        self.assertGreaterEqual(int(fields["Index"]), int(after))

    def test_for_ever_prints_each_event_once_and_in_order(self):
        index = self.index_of("set", "/d/f", "0")
        self.ok("set", "/d/f", "1")
        with self.watching("watch", "-r", "-f", "--after-index", index, "/d") as watcher:
            self.assertEqual([self.outside(watcher.line()) for _ in range(2)], ["[set] /d/f\n", "1\n"])
            for value in range(2, 30):
                put(self.home + "/d/f", value)
            self.ok("rm", "/d/f")
            shown = [self.outside(watcher.line()) for _ in range(2 * 29)]
        expected = [line for value in range(2, 30) for line in ("[set] /d/f\n", f"{value}\n")]
        self.assertEqual(shown, [*expected, "[delete] /d/f\n", "PrevNode.Value: 29\n"])

    def test_from_now_waits_for_the_next_event(self):
        self.ok("set", "/f", "before")
        with self.watching("-o", "json", "watch", "/f") as watcher:

            def written():
                put(self.home + "/f", "after")
                return not watcher.lines.empty()

            eventually("an event arrives", written)
            event = json.loads(watcher.line())
        self.assertEqual((event["action"], event["node"]["value"]), ("set", "after"))

    def test_an_expiry_is_an_event(self):
        index = self.index_of("set", "--ttl", "1", "/f", "v")
        event = self.json("watch", "--after-index", index, "/f")
        self.assertEqual(event["action"], "expire")
        self.assertEqual(event["prevNode"]["value"], "v")

    def test_exec_runs_the_command_for_each_event(self):
        script = 'echo "$ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE $ETCD_WATCH_MODIFIED_INDEX"'
        with self.watching("exec-watch", "--recursive", "/d", "--", "sh", "-c", script) as watcher:
            values = iter(range(1000))

            def written():
                put(self.home + "/d/f", next(values))
                return not watcher.lines.empty()

            eventually("the command runs", written)
            action, key, value, index = self.outside(watcher.line()).split()
        self.assertEqual((action, key), ("set", "/d/f"))
        self.assertGreaterEqual(int(value), 0)
        self.assertGreater(int(index), 0)
