"""What a node needs of the machine: PostgreSQL's programs, a user that is not root, and how to run as that user.

PostgreSQL refuses to run as root. Where the tests do, the nodes run as `nobody`. That user must be able to read the
programs: those below a directory of root's own (a checkout or a Python in /root) are copied into the run's.
"""

import os
import pwd
import shutil
import site
import subprocess
import sys
import sysconfig

import targets

USER = "nobody"
IGNORED = shutil.ignore_patterns(
    "botocore", "ministack", "pip", "setuptools", "site-packages", "test", "config-*", "__pycache__", "*.a"
)


class Runner:
    """Starts programs as the nodes' user. `home` is a directory for this run, which becomes that user's."""

    def __init__(self, home):
        self.home = home
        self.options = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam(USER)
            os.chown(home, user.pw_uid, user.pw_gid)
            self.options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self.libraries = []
        self.python_home = {}
        self.packages = self._readable(site.getsitepackages()[0], "packages")
        self.python = self._python()
        self.programs = self._programs()

    def _reads(self, path):
        """Whether the nodes' user can."""
        done = subprocess.run(["test", "-r", path], cwd="/", stdin=subprocess.DEVNULL, **self.options)
        return done.returncode == 0

    def _readable(self, path, name):
        """The path itself where the user can read it, else a copy."""
        if self._reads(path):
            return path
        copy = os.path.join(self.home, name)
        shutil.copytree(path, copy, symlinks=True, ignore=IGNORED)
        return copy

    def _python(self):
        """The interpreter that this one is, without the environment of packages around it."""
        program, library = os.path.realpath(sys.executable), sysconfig.get_path("stdlib")
        if self._reads(program) and self._reads(library):
            return program
        prefix = os.path.join(self.home, "python")
        os.mkdir(prefix)
        shutil.copy2(program, prefix)
        shutil.copytree(library, os.path.join(prefix, "lib", os.path.basename(library)), ignore=IGNORED)
        shared = os.path.join(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME") or "")
        if os.path.isfile(shared):
            shutil.copy2(shared, os.path.join(prefix, "lib"))
            self.libraries.append(os.path.join(prefix, "lib"))
        self.python_home = {"PYTHONHOME": prefix}
        return os.path.join(prefix, os.path.basename(program))

    def _programs(self):
        """The directory of PostgreSQL's programs. Those that were unpacked bring their libraries with them."""
        linked = os.path.join(targets.TOOLS, "postgresql")
        found = os.path.realpath(linked)
        if not os.path.exists(os.path.join(found, "postgres")):
            raise targets.StartFailed(f"{linked} is not there: run compat-tests/install")
        unpacked = os.path.join(os.path.realpath(targets.TOOLS), "debian")
        if found.startswith(unpacked + os.sep):
            root = self._readable(unpacked, "debian")
            self.libraries.append(os.path.join(root, "usr", "lib", sysconfig.get_config_var("MULTIARCH")))
            found = os.path.join(root, os.path.relpath(found, unpacked))
        return found

    def start(self, argv, log_path):
        """A child process of that user, in a session of its own, which writes to a log file."""
        env = {"PATH": f"{self.programs}:/usr/bin:/bin", "PYTHONPATH": self.packages, "HOME": self.home, "LC_ALL": "C"}
        env.update(self.python_home)
        if self.libraries:
            env["LD_LIBRARY_PATH"] = ":".join(self.libraries)
        with open(log_path, "a", encoding="utf-8") as log:
            return subprocess.Popen(
                argv,
                cwd=self.home,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self.options,
            )
