"""Makes python-etcd clients of the server under test."""

import urllib.parse

import etcd

from support import PATIENCE_S, URLS, Case


def connect(url=URLS[0], **options):
    """A client of one URL."""
    parts = urllib.parse.urlsplit(url)
    options.setdefault("read_timeout", PATIENCE_S)
    return etcd.Client(host=parts.hostname, port=parts.port, protocol=parts.scheme, **options)


class ClientCase(Case):
    """A test with a client, `self.client`, and its own directory of keys."""

    def setUp(self):
        super().setUp()
        self.client = connect()

    def key(self, name):
        return f"{self.home}/{name}"

    def refused(self, exception, message, call, *arguments, **options):
        """The call raises exactly this exception, with this message and an index in its payload."""
        with self.assertRaises(exception) as caught:
            call(*arguments, **options)
        self.assertIs(type(caught.exception), exception)
        self.assertEqual(str(caught.exception), message)
        self.assertGreater(caught.exception.payload["index"], 0)
        return caught.exception
