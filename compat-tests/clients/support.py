"""What the Python client suites share: where the server is, a directory of keys for each test, and waiting.

The base URLs come from `COMPAT_URLS` (comma separated); a suite knows nothing else about the server. A test works
below a directory of its own and expects nothing of the rest of the tree, so a suite may run on a server in use.
"""

import os
import unittest
import urllib.parse
import urllib.request
import uuid

from patience import PATIENCE_S, eventually  # noqa: F401

URLS = [url for url in os.environ.get("COMPAT_URLS", "").split(",") if url]
if not URLS:
    raise SystemExit("COMPAT_URLS is not set: give the base URLs of the server, separated by commas")

# TTLs end within this after their time: etcd sweeps twice a second, and the machine may be busy.
EXPIRY_GRACE_S = 5


def put(key, value, **options):
    """A plain PUT by the standard library, for what has to happen beside the client under test."""
    data = urllib.parse.urlencode({"value": value, **options}).encode()
    url = f"{URLS[0]}/v2/keys{urllib.parse.quote(key)}"
    with urllib.request.urlopen(urllib.request.Request(url, data, method="PUT"), timeout=PATIENCE_S) as answer:
        answer.read()


def silence(times):
    """Waits until the server has ended as many silent watches, one after the other: each with nothing but its head.

    A watch that was there before has then been ended as often, but for once.
    """
    for _ in range(times):
        url = f"{URLS[0]}/v2/keys/silence-{uuid.uuid4().hex}?wait=true"
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            told = (answer.status, int(answer.headers["X-Etcd-Index"]) > 0, answer.read())
        if told != (200, True, b""):
            raise AssertionError(f"a silent watch ended with {told}")


class Case(unittest.TestCase):
    """A test with a directory of its own, `self.home`."""

    maxDiff = None

    def setUp(self):
        self.home = f"/compat-{uuid.uuid4().hex[:12]}"
