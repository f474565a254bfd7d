"""Fills a server with the keys that are measured, and checks that it shows them all."""

import http.client
import json
import urllib.parse

from measure import BenchFailed

VALUE = "v" * 200
ONE = "/v2/keys/bench/one"
HUNDRED = "/v2/keys/bench/hundred"
THOUSAND = "/v2/keys/bench/thousand"
KNOWN = "/v2/keys/bench/known"
NEW = "/v2/keys/bench/new"


def request(connection, method, path, body=None):
    """One request that must succeed."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status not in (200, 201):
        raise BenchFailed(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
    return text


def paths():
    """Every key: one, a directory of 100, a tree of 1,000 nodes (10 directories of 99 files), and 64 to write to."""
    yield ONE
    for n in range(100):
        yield f"{HUNDRED}/{n:03d}"
    for directory in range(10):
        for n in range(99):
            yield f"{THOUSAND}/{directory}/{n:03d}"
    for n in range(64):
        yield f"{KNOWN}/{n:03d}"


def nodes_below(node):
    """How many nodes a listing shows below its own."""
    children = node.get("nodes", [])
    return len(children) + sum(nodes_below(child) for child in children)


def connect(url):
    """A connection to a server that stays open."""
    return http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=30)


def fill(url):
    """Writes every key and counts what the listings show."""
    connection = connect(url)
    for path in paths():
        request(connection, "PUT", path, f"value={VALUE}")
    for path, expected in ((HUNDRED, 100), (f"{THOUSAND}?recursive=true", 1000)):
        shown = nodes_below(json.loads(request(connection, "GET", path))["node"])
        if shown != expected:
            raise BenchFailed(f"{url}{path} shows {shown} nodes, not {expected}")
    connection.close()
