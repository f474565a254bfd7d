"""Runs etcdctl and gives back its exit code and output, with the test's own directory taken out of both.

`self.ctl("set", "/a", "1")` sets `/a` below the test's directory and reads as if that directory were the root:
each argument that begins with `/` is moved below it, and its name is removed from what etcdctl prints. The etcd
index at the end of an error (`[17]`) becomes `[N]`, since its number is the server's own business.
"""

import collections
import json
import os
import re
import subprocess

from support import PATIENCE_S, URLS, Case

BINARY = os.environ.get("ETCDCTL_BIN", "etcdctl")
ENV = {**os.environ, "ETCDCTL_API": "2"}

OK, BAD_USAGE, BAD_COMMAND, SERVER_ERROR = 0, 1, 3, 4

Result = collections.namedtuple("Result", "code out err")


def command(*arguments):
    """The whole command line for these arguments."""
    return [BINARY, "--endpoints", ",".join(URLS), *arguments]


def run(*arguments):
    """Runs etcdctl with exactly these arguments."""
    done = subprocess.run(
        command(*arguments), env=ENV, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S
    )
    return Result(done.returncode, done.stdout, done.stderr)


class CtlCase(Case):
    """A test that speaks through etcdctl."""

    def inside(self, arguments):
        """The arguments with every key below this test's directory."""
        return [self.home + word if word.startswith("/") else word for word in arguments]

    def outside(self, text):
        """Text of etcdctl as it would be if this test's directory were the root."""
        return text.replace(self.home, "")

    def ctl(self, *arguments):
        """Runs a command on this test's keys."""
        code, out, err = run(*self.inside(arguments))
        return Result(code, self.outside(out), re.sub(r"\[[1-9]\d*\]$", "[N]", self.outside(err), flags=re.M))

    def ok(self, *arguments):
        """Runs a command that must succeed and complain of nothing, and returns what it printed."""
        result = self.ctl(*arguments)
        self.assertEqual((result.code, result.err), (OK, ""), arguments)
        return result.out

    def prints(self, expected, *arguments):
        """The command succeeds and prints exactly `expected`."""
        self.assertEqual(self.ok(*arguments), expected, arguments)

    def refused(self, error, *arguments):
        """The server refuses: exit code 4, nothing on standard output, and this error."""
        expected = Result(SERVER_ERROR, "", f"Error:  {error} [N]\n")
        self.assertEqual(self.ctl(*arguments), expected, arguments)

    def json(self, *arguments):
        """Runs a command with `-o json` and returns the answer it prints."""
        return json.loads(self.ok("-o", "json", *arguments))

    def extended(self, *arguments):
        """Runs a command with `-o extended` and returns its fields and its last part, the value."""
        head, _, value = self.ok("-o", "extended", *arguments).partition("\n\n")
        return dict(line.split(": ", 1) for line in head.splitlines()), value
