"""etcdctl, and with it the Go client, on a server that ends silent watches: it asks again, and nobody notices."""

from etcdctl.ctl import CtlCase
from etcdctl.test_watch import Watcher
from support import eventually, put, silence


class WatchTimeout(CtlCase):
    def watching(self, *arguments):
        watcher = Watcher(self.inside(arguments))
        self.addCleanup(watcher.stop)
        return watcher

    def index_of(self, key):
        return str(self.json("set", key, "0")["node"]["modifiedIndex"])

    def test_watch_waits_through_silences(self):
        watcher = self.watching("watch", "--after-index", self.index_of("/f"), "/f")
        silence(4)
        self.assertIsNone(watcher.child.poll(), "it gave up")
        put(self.home + "/f", "late")
        self.assertEqual(watcher.line(), "late\n")
        self.assertEqual(watcher.child.wait(), 0)

    def test_for_ever_sees_each_event_once_and_in_order(self):
        watcher = self.watching("watch", "-r", "-f", "--after-index", self.index_of("/d/f"), "/d")
        shown = []
        for value in range(4):
            silence(2)
            put(self.home + "/d/f", value)
            shown += [self.outside(watcher.line()) for _ in range(2)]
        self.assertEqual(shown, [line for value in range(4) for line in ("[set] /d/f\n", f"{value}\n")])

    def test_exec_watch_waits_through_silences(self):
        watcher = self.watching("exec-watch", "--recursive", "/d", "--", "sh", "-c", "echo $ETCD_WATCH_VALUE")
        silence(4)

        # From now, that is: what falls between two watches is not its own.
        def written():
            put(self.home + "/d/f", "late")
            return not watcher.lines.empty()

        eventually("the command runs", written)
        self.assertEqual(watcher.line(), "late\n")
