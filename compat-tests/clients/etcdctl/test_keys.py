"""The key commands of etcdctl: what each prints, how it fails, and its exit code. Not conditions, TTLs or watches."""

from etcdctl.ctl import BAD_COMMAND, BAD_USAGE, CtlCase, run


class Get(CtlCase):
    def test_prints_the_value(self):
        self.ok("set", "/f", "hello world")
        self.prints("hello world\n", "get", "/f")

    def test_sorted_and_quorum_read_the_same_value(self):
        self.ok("set", "/f", "v")
        self.prints("v\n", "get", "--sort", "-q", "/f")

    def test_a_directory_is_bad_usage(self):
        self.ok("set", "/d/f", "v")
        self.assertEqual(self.ctl("get", "/d"), (BAD_USAGE, "", "/d: is a directory\n"))

    def test_a_missing_key_names_the_first_missing_part(self):
        self.ok("mkdir", "/d")
        self.refused("100: Key not found (/d/none)", "get", "/d/none/below")

    def test_below_a_file_names_the_file(self):
        self.ok("set", "/f", "v")
        self.refused("104: Not a directory (/f)", "get", "/f/below")

    def test_without_a_key_is_bad_usage(self):
        self.assertEqual(run("get"), (BAD_USAGE, "", "Error:  key required\n"))

    def test_without_sync_reads_the_given_endpoint(self):
        self.ok("set", "/f", "v")
        self.prints("v\n", "--no-sync", "get", "/f")

    def test_keys_with_spaces_and_unicode(self):
        self.ok("set", "/a b+c/ключ%?#", "значение & <tags>")
        self.prints("значение & <tags>\n", "get", "/a b+c/ключ%?#")
        self.prints("/a b+c/ключ%?#\n", "ls", "/a b+c")

    def test_a_trailing_slash_is_the_same_key(self):
        self.ok("set", "/f", "v")
        self.prints("v\n", "get", "/f/")


class Set(CtlCase):
    def test_prints_the_value_and_replaces(self):
        self.prints("one\n", "set", "/f", "one")
        self.prints("two\n", "set", "/f", "two")
        self.prints("two\n", "get", "/f")

    def test_makes_the_directories_above(self):
        self.ok("set", "/a/b/c", "v")
        self.prints("/a/b/\n/a/b/c\n", "ls", "-r", "-p", "--sort", "/a")

    def test_an_empty_value(self):
        self.prints("\n", "set", "/f", "")
        self.prints("\n", "get", "/f")

    def test_a_value_that_looks_like_a_flag(self):
        self.prints("-v\n", "set", "--", "/f", "-v")

    def test_on_a_directory(self):
        self.ok("mkdir", "/d")
        self.refused("102: Not a file (/d)", "set", "/d", "v")

    def test_below_a_file(self):
        self.ok("set", "/f", "v")
        self.refused("104: Not a directory (/f)", "set", "/f/g", "v")

    def test_on_the_root(self):
        result = run("set", "/", "v")
        self.assertEqual((result.code, result.out), (4, ""))
        self.assertRegex(result.err, r"^Error:  107: Root is read only \(/\) \[\d+\]\n$")

    def test_without_a_value_is_bad_usage(self):
        self.assertEqual(self.ctl("set", "/f"), (BAD_USAGE, "", "Error:  value required\n"))


class Make(CtlCase):
    def test_mk_prints_the_value(self):
        self.prints("v\n", "mk", "/f", "v")

    def test_mk_on_a_file_or_directory(self):
        self.ok("set", "/d/f", "v")
        self.refused("105: Key already exists (/d/f)", "mk", "/d/f", "v")
        self.refused("105: Key already exists (/d)", "mk", "/d", "v")
        self.prints("v\n", "get", "/d/f")

    def test_mk_in_order_names_keys_in_the_order_of_their_making(self):
        for value in ("first", "second", "third"):
            self.prints(value + "\n", "mk", "--in-order", "/q", value)
        keys = self.ok("ls", "--sort", "/q").splitlines()
        self.assertEqual(len(keys), 3)
        for key in keys:
            self.assertRegex(key, r"^/q/\d{20}$")
        self.assertEqual([self.ok("get", key) for key in keys], ["first\n", "second\n", "third\n"])

    def test_mk_in_order_below_a_file(self):
        self.ok("set", "/f", "v")
        self.refused("104: Not a directory (/f)", "mk", "--in-order", "/f", "v")

    def test_mkdir_prints_nothing_and_will_not_do_it_twice(self):
        self.prints("", "mkdir", "/d")
        self.refused("105: Key already exists (/d)", "mkdir", "/d")
        self.prints("", "ls", "/d")

    def test_setdir_prints_nothing_and_fails_on_a_directory(self):
        self.prints("", "setdir", "/d")
        self.refused("102: Not a file (/d)", "setdir", "/d")

    def test_setdir_turns_a_file_into_a_directory(self):
        self.ok("set", "/f", "v")
        self.prints("", "setdir", "/f")
        self.prints("/f/\n", "ls", "-p", "/")


class Update(CtlCase):
    def test_prints_the_value_and_keeps_the_creation(self):
        created = self.json("set", "/f", "one")["node"]["createdIndex"]
        self.prints("two\n", "update", "/f", "two")
        node = self.json("get", "/f")["node"]
        self.assertEqual((node["value"], node["createdIndex"]), ("two", created))
        self.assertGreater(node["modifiedIndex"], created)

    def test_a_missing_key(self):
        self.ok("mkdir", "/d")
        self.refused("100: Key not found (/d/none)", "update", "/d/none", "v")

    def test_a_directory(self):
        self.ok("mkdir", "/d")
        self.refused("102: Not a file (/d)", "update", "/d", "v")

    def test_updatedir_prints_nothing(self):
        self.ok("mkdir", "/d")
        self.prints("", "updatedir", "/d")

    def test_updatedir_of_a_missing_key(self):
        self.ok("mkdir", "/d")
        self.refused("100: Key not found (/d/none)", "updatedir", "--ttl", "40", "/d/none")


class List(CtlCase):
    def setUp(self):
        super().setUp()
        for key in ("/b/f", "/b/d/g", "/a", "/_hidden", "/c/_h"):
            self.ok("set", key, "v")
        self.ok("mkdir", "/empty")

    def test_one_level_sorted(self):
        self.prints("/a\n/b\n/c\n/empty\n", "ls", "--sort", "/")

    def test_unsorted_lists_the_same(self):
        self.assertEqual(sorted(self.ok("ls", "/").splitlines()), ["/a", "/b", "/c", "/empty"])

    def test_recursive_with_slashes_and_quorum(self):
        expected = "/a\n/b/\n/b/d/\n/b/d/g\n/b/f\n/c/\n/empty/\n"
        self.prints(expected, "ls", "-r", "--sort", "-p", "-q", "/")

    def test_a_file_lists_itself(self):
        self.prints("/a\n", "ls", "/a")

    def test_empty_directories_print_nothing(self):
        self.prints("", "ls", "/empty")
        self.prints("", "ls", "/c")

    def test_a_hidden_key_is_there_for_who_knows_its_name(self):
        self.prints("v\n", "get", "/_hidden")
        self.prints("/c/_h\n", "ls", "/c/_h")

    def test_a_missing_directory(self):
        self.refused("100: Key not found (/none)", "ls", "/none")

    def test_without_a_key_lists_the_root(self):
        result = run("ls", "--sort")
        self.assertEqual((result.code, result.err), (0, ""))
        names = result.out.splitlines()
        self.assertIn(self.home, names)
        self.assertEqual(names, sorted(names))


class Remove(CtlCase):
    def test_rm_prints_what_was_there(self):
        self.ok("set", "/d/f", "v")
        self.prints("PrevNode.Value: v\n", "rm", "/d/f")
        self.refused("100: Key not found (/d/f)", "get", "/d/f")

    def test_rm_of_a_missing_key(self):
        self.ok("mkdir", "/d")
        self.refused("100: Key not found (/d/none)", "rm", "/d/none")
        self.refused("100: Key not found (/d/none)", "rm", "-r", "/d/none")
        self.refused("100: Key not found (/d/none)", "rmdir", "/d/none")

    def test_rm_of_a_directory_needs_a_flag(self):
        self.ok("mkdir", "/d")
        self.refused("102: Not a file (/d)", "rm", "/d")
        self.prints("", "rm", "--dir", "/d")

    def test_a_directory_that_is_not_empty(self):
        self.ok("set", "/d/f", "v")
        self.refused("108: Directory not empty (/d)", "rm", "--dir", "/d")
        self.refused("108: Directory not empty (/d)", "rmdir", "/d")
        self.prints("v\n", "get", "/d/f")

    def test_a_hidden_child_keeps_a_directory(self):
        self.ok("set", "/d/_h", "v")
        self.refused("108: Directory not empty (/d)", "rmdir", "/d")

    def test_rmdir_prints_nothing(self):
        self.ok("mkdir", "/d")
        self.prints("", "rmdir", "/d")
        self.prints("", "mkdir", "/d")

    def test_rm_recursive_takes_the_whole_tree(self):
        for key in ("/d/f", "/d/e/g", "/d/_h", "/dd"):
            self.ok("set", key, "v")
        self.prints("", "rm", "--recursive", "/d")
        self.prints("/dd\n", "ls", "-r", "/")
        self.refused("100: Key not found (/d)", "get", "/d/_h")

    def test_rm_recursive_of_a_file(self):
        self.ok("set", "/f", "v")
        self.prints("PrevNode.Value: v\n", "rm", "-r", "/f")


class Usage(CtlCase):
    def test_an_unknown_command(self):
        self.assertEqual(run("bogus"), (BAD_COMMAND, "", "No help topic for 'bogus'\n"))

    def test_an_unknown_flag(self):
        self.ok("mkdir", "/d")
        result = self.ctl("mk", "--bogus", "/d/f", "v")
        self.assertEqual(result.code, BAD_USAGE)
        self.assertIn("flag provided but not defined: -bogus", result.err)
        self.prints("", "ls", "/d")
