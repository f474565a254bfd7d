"""The image, as far as it can be shown without a container engine, which the tests must not need.

Shown: hadolint accepts the Dockerfile; its build context holds what is copied and nothing else; the layer of the
dependencies is built from the manifests alone, by the very commands of the Dockerfile, and makes what the server's own
build uses, so a change of the sources rebuilds nothing of it; the program needs no library that the base has not; and it
runs, serves and finds itself healthy on a root file system that holds only itself and these libraries, read-only, as the
user of the image. Not shown: that the bases can be pulled, and the build on arm64.
"""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.request

import support
import targets

TARGET_DIR = os.environ.get("CARGO_TARGET_DIR") or os.path.join(support.REPO, "target")

# Of gcr.io/distroless/cc-debian12: its packages libc6 (2.36) and libgcc-s1, as far as a Rust program may need them.
LIBRARIES = {"libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libpthread.so.0", "librt.so.1"}
LOADERS = {"ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
GLIBC = (2, 36)


def instructions():
    """The instructions of the Dockerfile, without comments, each in one line."""
    text = re.sub(r"(?m)^\s*#.*\n", "", support.read("Dockerfile"))
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [line.split(None, 1) for line in lines if line.strip()]


def stages():
    """Its stages: the instructions after each FROM, that one first."""
    found = []
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest))
    return found


def context():
    """The tracked files that .dockerignore leaves in the build context."""
    patterns = [line for line in support.read(".dockerignore").splitlines() if line and not line.startswith("#")]
    listed = subprocess.run(["git", "ls-files"], cwd=support.REPO, capture_output=True, text=True, check=True).stdout

    def is_in(path):
        kept = True
        parents = [path]
        while os.path.dirname(parents[-1]):
            parents.append(os.path.dirname(parents[-1]))
        for pattern in patterns:
            if any(fnmatch.fnmatchcase(part, pattern.removeprefix("!")) for part in parents):
                kept = pattern.startswith("!")
        return kept

    return [path for path in listed.splitlines() if is_in(path)]


class Dockerfile(unittest.TestCase):
    def test_hadolint(self):
        hadolint = os.path.join(os.path.dirname(sys.executable), "hadolint")
        done = subprocess.run([hadolint, os.path.join(support.REPO, "Dockerfile")], capture_output=True, text=True)
        self.assertEqual((0, ""), (done.returncode, done.stdout + done.stderr))

    def test_bases(self):
        toolchain = re.search(r'rust-version = "([\d.]+)"', support.read("Cargo.toml"))[1]
        self.assertEqual(("FROM", f"rust:{toolchain}.0-bookworm AS build"), stages()[0][0])
        self.assertEqual(("FROM", "${RUNTIME}"), stages()[1][0])
        self.assertIn(["ARG", "RUNTIME=gcr.io/distroless/cc-debian12:nonroot"], instructions())

    def test_the_context_is_what_is_copied(self):
        copied = [rest.split()[:-1] for word, rest in stages()[0] if word == "COPY"]
        sources = {source for group in copied for source in group}
        found = context()
        for source in sources:
            self.assertTrue(any(path == source or path.startswith(f"{source}/") for path in found), source)
        others = [path for path in found if path not in sources and not path.startswith("src/")]
        self.assertEqual([], others)

    def test_the_image_needs_no_shell_and_no_root(self):
        final = stages()[1]
        words = [word for word, _ in final]
        self.assertNotIn("RUN", words)
        settings = dict(final)
        self.assertEqual(["/usr/local/bin/etcdynamo"], json.loads(settings["ENTRYPOINT"]))
        command = settings["HEALTHCHECK"].split("CMD", 1)[1]
        self.assertEqual(["/usr/local/bin/etcdynamo", "healthcheck"], json.loads(command))
        self.assertRegex(settings["USER"], r"^[1-9]\d+:[1-9]\d+$")

    def test_the_dependencies_are_a_layer_of_their_own(self):
        """The commands before the sources are copied, in a plain directory with what was copied until then."""
        build = ["cargo", "build", "--release", "--locked", "-p", "etcdynamo"]
        subprocess.run(build, cwd=support.REPO, check=True, env={**os.environ, "CARGO_TARGET_DIR": TARGET_DIR})
        with tempfile.TemporaryDirectory(prefix="layer-", dir=TARGET_DIR) as directory:
            self.link_dependencies(os.path.join(directory, "target"))
            where = os.path.join(directory, "build")
            os.mkdir(where)
            for word, rest in stages()[0]:
                if (word, rest) == ("COPY", "src src"):
                    break
                if word == "COPY":
                    *sources, to = rest.split()
                    for source in sources:
                        name = os.path.basename(source) if to.endswith("/") else ""
                        self.copy(source, os.path.normpath(os.path.join(where, to, name)))
                if word == "RUN":
                    built = self.run_layer(rest, where, directory)
        others = {name: fresh for name, fresh in built if "etcdynamo" not in name}
        self.assertGreater(len(others), 100)
        self.assertEqual([], [name for name, fresh in others.items() if not fresh])

    def link_dependencies(self, to):
        """A target directory with all that was built but the server, which the dummy would be taken for."""

        def server(_, names):
            return [name for name in names if "etcdynamo" in name or name.startswith(".cargo")]

        # The dependencies' files are links: cargo writes none that is fresh, and that is what is to be shown.
        shutil.copytree(
            os.path.join(TARGET_DIR, "release"),
            os.path.join(to, "release"),
            copy_function=os.link,
            ignore=server,
        )

    def copy(self, source, to):
        self.assertIn(source, context())
        os.makedirs(os.path.dirname(to), exist_ok=True)
        shutil.copyfile(os.path.join(support.REPO, source), to)

    def run_layer(self, commands, where, directory):
        """Runs the commands of a layer with what is installed here; gives what cargo built, and whether it was there."""
        shim, log = os.path.join(directory, "cargo"), os.path.join(directory, "built.json")
        with open(shim, "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nexec {shutil.which("cargo")} "$@" --offline --message-format=json >>{log}\n')
        os.chmod(shim, 0o755)
        env = {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"}
        env["CARGO_TARGET_DIR"] = os.path.join(directory, "target")
        done = subprocess.run(["/bin/sh", "-ec", commands], cwd=where, env=env, capture_output=True, text=True)
        self.assertEqual(0, done.returncode, done.stderr)
        with open(log, encoding="utf-8") as file:
            messages = [json.loads(line) for line in file]
        artifacts = [message for message in messages if message["reason"] == "compiler-artifact"]
        return [(artifact["package_id"], artifact["fresh"]) for artifact in artifacts]


class Program(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.binary = os.environ.get("ETCDYNAMO_BIN") or os.path.join(TARGET_DIR, "release", "etcdynamo")

    def test_it_needs_no_library_that_the_base_has_not(self):
        listed = subprocess.run(["objdump", "-p", self.binary], capture_output=True, text=True, check=True).stdout
        needed = set(re.findall(r"NEEDED\s+(\S+)", listed))
        self.assertIn("libc.so.6", needed)
        self.assertLessEqual(needed, LIBRARIES | LOADERS)
        versions = {tuple(map(int, at)) for at in re.findall(r"GLIBC_(\d+)\.(\d+)", listed)}
        self.assertLessEqual(max(versions), GLIBC)

    def test_it_runs_on_a_read_only_root_as_nobody(self):
        with tempfile.TemporaryDirectory(prefix="etcdynamo-root-") as directory:
            os.chmod(directory, 0o755)
            root = os.path.join(directory, "root")
            self.fill(root)
            engine, endpoint = targets.start_engine("dynoxide", directory)
            self.addCleanup(engine.stop, expected_code=None)
            port = targets.free_port()
            env = {**targets.AWS_ENV, "ETCDYNAMO_LISTEN_CLIENT_URLS": f"http://0.0.0.0:{port}"}
            env |= {"ETCDYNAMO_ENDPOINT_URL": endpoint, "ETCDYNAMO_REGION": "us-east-1", "ETCDYNAMO_TABLE": "read-only"}
            argv = self.within(root, "--create-table", "--allow-insecure-listen")
            server = targets.Process("etcdynamo", argv, os.path.join(directory, "log"), "^listening on ", env)
            self.addCleanup(server.stop, expected_code=0)
            server.wait_ready()
            with open(f"/proc/{server.pid}/status", encoding="ascii") as file:
                status = file.read()
            user = dict(stages()[1])["USER"].split(":")[0]
            self.assertIn("\t".join(["Uid:", *[user] * 4]), status)
            self.assertRegex(status, r"CapEff:\s0+\n")
            put = urllib.request.Request(f"http://127.0.0.1:{port}/v2/keys/f", b"value=1", method="PUT")
            with urllib.request.urlopen(put, timeout=targets.START_TIMEOUT_S) as answer:
                self.assertEqual(201, answer.status)
            target_group = support.Template("service.yaml").only("AWS::ElasticLoadBalancingV2::TargetGroup")
            ready = f"http://127.0.0.1:{port}{target_group['HealthCheckPath']}"
            with urllib.request.urlopen(ready, timeout=targets.START_TIMEOUT_S) as answer:
                self.assertEqual(int(target_group["Matcher"]["HttpCode"]), answer.status)
            check = dict(stages()[1])["HEALTHCHECK"].split("CMD", 1)[1]
            asked = self.within(root, *json.loads(check)[1:])
            done = subprocess.run(asked, env={**os.environ, **env}, capture_output=True, text=True)
            self.assertEqual((0, ""), (done.returncode, done.stderr))
            self.assertRegex(done.stdout, rf"^healthy: http://127.0.0.1:{port}/livez answered 200")
            made = [os.path.join(folder, file) for folder, _, files in os.walk(root) for file in files]
            self.assertEqual(self.filled, made)

    def fill(self, root):
        """A root with the program, its libraries, and the roots of TLS."""
        place = os.path.join(root, "usr/local/bin/etcdynamo")
        os.makedirs(os.path.dirname(place))
        shutil.copy2(self.binary, place)
        # The base has the roots of TLS, and the AWS SDK wants some before it knows that it needs none.
        roots = "etc/ssl/certs/ca-certificates.crt"
        os.makedirs(os.path.join(root, os.path.dirname(roots)))
        shutil.copy(f"/{roots}", os.path.join(root, roots))
        linked = subprocess.run(["ldd", self.binary], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+) \(", linked):
            os.makedirs(root + os.path.dirname(library), exist_ok=True)
            shutil.copy(os.path.realpath(library), root + library)
        self.filled = [os.path.join(folder, file) for folder, _, files in os.walk(root) for file in files]

    def within(self, root, *arguments):
        """The entry point in that root, read-only, as the user of the image. It needs root, as installing does."""
        settings = dict(stages()[1])
        (entry,) = json.loads(settings["ENTRYPOINT"])
        script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec chroot "$@"'
        user = f"--userspec={settings['USER']}"
        # chroot takes its options first, so the root comes twice: to be mounted, and to be entered.
        return ["unshare", "--mount", "sh", "-ec", script, "sh", root, user, "--groups=", root, entry, *arguments]


if __name__ == "__main__":
    unittest.main()
