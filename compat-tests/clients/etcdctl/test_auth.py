"""Users, roles and auth through etcdctl's commands, and what they let whom do.

Users and roles are the server's, not a directory's: each test takes its own away again, and turns auth off.
"""

import subprocess

from etcdctl.ctl import ENV, OK, SERVER_ERROR, CtlCase, Result, command
from support import PATIENCE_S

ROOT = ("-u", "root:pw")
REFUSED = "110: The request requires user authentication (Insufficient credentials) [0]"


def ctl(*arguments, stdin=""):
    """Runs etcdctl with exactly these arguments, and answers its questions."""
    done = subprocess.run(
        command(*arguments), env=ENV, input=stdin, capture_output=True, text=True, timeout=PATIENCE_S
    )
    return Result(done.returncode, done.stdout, done.stderr)


class AuthCase(CtlCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.forget)

    def forget(self):
        ctl(*ROOT, "auth", "disable")
        for user in ctl("user", "list").out.split():
            ctl("user", "remove", user)
        for role in set(ctl("role", "list").out.split()) - {"root"}:
            ctl("role", "remove", role)

    def done(self, expected, *arguments, stdin=""):
        """The command succeeds and prints this."""
        result = ctl(*arguments, stdin=stdin)
        self.assertEqual((result.code, result.out), (OK, expected), (arguments, result.err))

    def refused(self, expected, *arguments):
        """The command fails, and says this."""
        result = ctl(*arguments)
        self.assertNotEqual(result.code, OK, arguments)
        self.assertEqual(result.err.strip(), expected, arguments)

    def denied(self, *arguments):
        result = ctl(*arguments)
        self.assertEqual(result.code, SERVER_ERROR, arguments)
        self.assertEqual(result.err, f"Error:  {REFUSED}\n", arguments)


class Users(AuthCase):
    def test_they_are_added_listed_shown_and_removed(self):
        self.done("User u created\n", "user", "add", "u:p")
        self.done("User v created\n", "user", "add", "v:p")
        self.done("u\nv\n", "user", "list")
        self.done("Role r created\n", "role", "add", "r")
        self.done("User u updated\n", "user", "grant", "u", "--roles", "r")
        self.done("User: u\nRoles:  r\n", "user", "get", "u")
        self.done("User u updated\n", "user", "revoke", "u", "--roles", "r")
        self.done("User v removed\n", "user", "remove", "v")
        self.done("u\n", "user", "list")
        self.refused("auth: User nobody does not exist.", "user", "get", "nobody")

    def test_a_password_is_changed(self):
        self.done("User u created\n", "user", "add", "u:p")
        self.assertIn("Password updated", ctl("user", "passwd", "u", stdin="p2\np2\n").out)


class Roles(AuthCase):
    def test_they_are_added_granted_shown_and_removed(self):
        self.done("Role r created\n", "role", "add", "r")
        self.done("Role r updated\n", "role", "grant", "r", "--path", "/a/*", "--readwrite")
        self.done("Role r updated\n", "role", "grant", "r", "--path", "/b", "--read")
        self.done("Role: r\nKV Read:\n\t/a/*\n\t/b\nKV Write:\n\t/a/*\n", "role", "get", "r")
        self.done("Role r updated\n", "role", "revoke", "r", "--path", "/a/*", "--write")
        self.done("Role: r\nKV Read:\n\t/a/*\n\t/b\nKV Write:\n", "role", "get", "r")
        self.done("r\nroot\n", "role", "list")
        self.done("Role r removed\n", "role", "remove", "r")
        self.refused("auth: Role r does not exist.", "role", "get", "r")


class Locked(AuthCase):
    def test_only_who_may_does(self):
        mine, other = f"{self.home}/mine", f"{self.home}/other"
        self.done("User root created\n", "user", "add", "root:pw")
        self.done("User u created\n", "user", "add", "u:p")
        self.done("Role r created\n", "role", "add", "r")
        self.done("Role r updated\n", "role", "grant", "r", "--path", f"{mine}/*", "--readwrite")
        self.done("User u updated\n", "user", "grant", "u", "--roles", "r")
        self.done("Authentication Enabled\n", "auth", "enable")
        self.done("1\n", "set", other, "1")
        self.done("Role guest updated\n", *ROOT, "role", "revoke", "guest", "--path", "/*", "--readwrite")
        self.denied("set", other, "2")
        self.denied("get", other)
        self.denied("-u", "u:wrong", "get", f"{mine}/f")
        self.denied("-u", "nobody:p", "get", f"{mine}/f")
        self.denied("-u", "u:p", "get", other)
        self.done("2\n", "-u", "u:p", "set", f"{mine}/f", "2")
        self.done("2\n", "-u", "u:p", "get", f"{mine}/f")
        self.done("1\n", *ROOT, "get", other)
        self.refused("Insufficient credentials", "user", "list")
        self.refused("Insufficient credentials", "-u", "u:p", "user", "list")
        self.done("Authentication Disabled\n", *ROOT, "auth", "disable")
        self.done("1\n", "get", other)
        self.refused("auth: already disabled", "auth", "disable")
