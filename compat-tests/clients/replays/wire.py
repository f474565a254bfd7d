"""Requests as Go programs make them, on connections that stay open: every parameter is in the query, set or not."""

import http.client
import json
import urllib.parse

from support import PATIENCE_S, URLS


class Refused(Exception):
    """A v2 error, with its code and index."""

    def __init__(self, body):
        super().__init__(body["message"])
        self.code = body["errorCode"]
        self.index = body["index"]


class Wire:
    """One connection to the server under test."""

    def __init__(self):
        self._connection = http.client.HTTPConnection(urllib.parse.urlsplit(URLS[0]).netloc, timeout=PATIENCE_S)

    def close(self):
        self._connection.close()

    def get(self, key, **parameters):
        """A GET. Gives back its event and the index of its head; no event where a watch ended in silence."""
        given = {name: str(value).lower() for name, value in parameters.items()}
        target = f"/v2/keys{urllib.parse.quote(key)}?{urllib.parse.urlencode(given)}"
        self._connection.request("GET", target)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise Refused(json.loads(text))
        return (json.loads(text) if text else None), int(answer.headers["X-Etcd-Index"])

    def read(self, key):
        return self.get(key, quorum=True, recursive=True, sorted=True)


def files(node):
    """The files at and below a node of a listing, as a dictionary."""
    if not node.get("dir"):
        return {node["key"]: node["value"]}
    return {key: value for child in node.get("nodes", []) for key, value in files(child).items()}


class Watcher:
    """The Go client's `Watcher`: each `next` asks for what comes after the last; silence is asked through."""

    def __init__(self, key, after=0):
        self._wire = Wire()
        self._key = key
        self._wait_index = after + 1 if after else 0

    def close(self):
        self._wire.close()

    def next(self):
        while True:
            event, _ = self._wire.get(self._key, recursive=True, wait=True, waitIndex=self._wait_index)
            if event is not None:
                self._wait_index = event["node"]["modifiedIndex"] + 1
                return event
