"""dev/proofs: a name that is none is found, whatever its form, and one that is there is not."""

import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap
import unittest

from proven import page, rust, sources
from proven.page import Page, Rules
from world import DEV

FILES = {
    "tests/end_to_end/main.rs": "mod audit;\nmod shelf { mod lost; }\n",
    "tests/end_to_end/audit.rs": """
        mod inner { #[test] fn deep() {} }
        #[test]
        #[cfg(unix)]
        fn a_line_is_whole() { let text = "#[test] fn in_a_text() {}"; }
        #[tokio::test(start_paused = true)]
        pub async fn a_line_is_synced() {}
        // #[test] fn in_a_comment() {}
        fn helper() {}
        #[test]
        #[ignore = "slow"]
        fn left_out() {}
        macro_rules! rows { ($($name:ident: $what:expr,)+) => { $(#[test] fn $name() { $what })+ } }
        rows! { first: f(a, b: c), second: { third: 1 }, }
        """,
    "tests/end_to_end/orphan.rs": "#[test] fn nobody_compiles_me() {}",
    "tests/conformance.rs": "#[test] fn memory() { all() }",
    "tests/src/conformance.rs": "pub fn all() { store::reads() }",
    "tests/src/conformance/store.rs": "pub fn reads() {}\npub fn never_called() {}",
    "tests/fuzz/run": "#!/bin/sh",
    "tests/empty/README.md": "#!/bin/sh",
    "tests/empty/helper.rs": "pub fn helper() {}",
    "tests/vault/cached.rs": "#[test] fn it_is_seen() {}",
    "tests/contract/grants.json": "[]",
    "README.md": "",
    "deny.json": "{}",
    "tests/fuzz/targets/frames.rs": "",
    "sidecar/core/src/lib.rs": "mod keys;",
    "sidecar/core/src/keys.rs": "mod ring;",
    "sidecar/core/src/keys/ring.rs": "#[cfg(test)] mod tests { #[test] fn one_key() {} #[test] fn two_keys() {} }",
    "sidecar/core/tests/properties.rs": "proptest! { #[test] fn it_opens(a in any()) {} }",
    "client-sdks/node/test/retry.test.ts": """
        test('what isn\\'t sent twice', f);
        for (const v of all) {
          test(`${v}, real: a restart`, f);
          assert.ok('no title');
        }
        """,
    "client-sdks/node/test/grpc/walk.test.ts": "everywhere('in a walk', f);",
    "client-sdks/python/test/test_retry.py": """
        def test_a_pause(): ...
        class Many:
            async def test_many_pauses(self): ...
        def helper(): ...
        """,
    "client-sdks/go/http/retry_test.go": """
        func TestMain(m *testing.M) {}
        func TestAPause(t *testing.T) {
            t.Run("of no time", f)
        }
        func helper() {}
        """,
    "client-sdks/java/client/src/test/java/RetryTest.java": """
        class RetryTest {
            @Test
            @EnabledOnOs({OS.LINUX})
            void aPause() throws Exception {}
            void helper() {}
            @ParameterizedTest @ValueSource(ints = {1, 2})
            public void ofMany(int count) {}
        }
        """,
    "client-sdks/java/client/src/main/java/Retry.java": "@Test void aPause() {}",
    "dev/tests/test_some.py": """
        class Some(TestCase):
            def test_it(self): ...
        class Other:
            x = 1
        def helper(): ...
        """,
    "dev/tests/world.py": "def helper(): ...",
    "dev/some": '#!/usr/bin/env python3\nadd("--check")',
    "dev/list": "a list",
}


class InACheckout(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        root = pathlib.Path(temporary.name)
        for path, text in FILES.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(textwrap.dedent(text))
        cls.sources = sources.Sources(root)


class Names(InACheckout):
    def complaints(self, cell, rules=Rules()):
        return Page(self.sources, rules).complaints(f"| promise | proof |\n| --- | --- |\n| some | {cell} |\n")

    def good(self, cell, rules=Rules()):
        self.assertEqual(self.complaints(cell, rules), [])

    def bad(self, cell, name=None, rules=Rules()):
        """Of a cell the last name is wrong, unless another is said."""
        name = name or page.CODE.findall(cell)[-1]
        self.assertEqual(self.complaints(cell, rules), [f"3: `{name}` is no test"], cell)

    def test_a_test_of_the_whole(self):
        self.good("`end_to_end::audit::a_line_is_whole`, `end_to_end::audit`, `end_to_end audit::a_line_is_synced`")
        self.bad("`end_to_end::audit::a_line_is_gone`")
        self.bad("`end_to_end::a_line_is_whole`")
        self.bad("`end_to_end::audit::a_line_is_whole::more`")

    def test_what_is_not_run_is_none(self):
        for name in ("helper", "in_a_text", "in_a_comment", "left_out", "name"):
            self.bad(f"`end_to_end::audit::{name}`")
        self.bad("`end_to_end::orphan::nobody_compiles_me`")

    def test_what_a_macro_makes(self):
        self.good("`end_to_end::audit::first`, `::second`")
        self.bad("`end_to_end::audit::third`")
        self.bad("`end_to_end::audit::b`")

    def test_a_test_of_a_crate_from_any_of_its_modules(self):
        self.good("`core keys::ring::tests::one_key`, `core ring::tests`, `core ring::one_key`")
        self.good("`core properties::it_opens`")
        self.bad("`core keys::one_key`")
        self.bad("`core properties::it_shuts`")

    def test_a_name_goes_on_from_the_one_before(self):
        self.good("`core ring::tests::one_key`, `::two_keys`")
        self.good("`core keys::ring::tests::one_key`, `::ring::tests::two_keys`")
        self.bad("`end_to_end::audit::inner::deep`, `::a_line_is_whole`")
        self.bad("`core ring::tests::one_key`, `::three_keys`")
        self.bad("`::two_keys`")
        self.good("`end_to_end::audit` (`a_line_is_whole`, `a_line_is_…`)")
        self.good("`end_to_end::audit::a_line_is_whole`, `…_synced`")
        self.bad("`end_to_end::audit` (`a_line_is_gone_…`)")

    def test_no_row_goes_on_from_another_one(self):
        table = "| a | test |\n| - | - |\n| b | `core ring::tests::one_key` |\n| c | `::two_keys` |\n"
        self.assertEqual(Page(self.sources, Rules()).complaints(table), ["4: `::two_keys` is no test"])

    def test_what_is_left_out_is_there(self):
        self.good("`end_to_end::audit::a_line_is_…`")
        self.bad("`end_to_end::audit::a_word_is_…`")
        self.bad("`end_to_end::audit::a_line_is_whole…`")  # nothing is left out
        strict = Rules(whole=True)
        told = ["3: `core ring::tests::one_…` is not written out"]
        self.assertEqual(self.complaints("`core ring::tests::one_…`", strict), told)

    def test_letters_and_short_names(self):
        rules = Rules(letters={"p": "properties"}, family="core")
        self.good("`p::it_opens`, `ring::one_key`", rules)
        self.bad("`p::it_shuts`", rules=rules)
        self.bad("`ring::three_keys`", rules=rules)
        self.bad("`ring::one_key`")

    def test_files_and_what_is_in_them(self):
        self.good("`tests/conformance.rs` (`reads`, `memory`)")
        self.bad("`tests/conformance.rs` (`never_called`)")
        self.bad("`tests/gone.rs`")
        self.good("`tests/fuzz`, target `frames`")
        self.bad("`tests/fuzz`, target `letters`")
        self.good("`dev/some --check`")
        self.bad("`dev/some --write`")

    def test_a_file_that_holds_no_tests_is_none(self):
        self.good("`tests/vault/cached.rs`, `tests/fuzz`, `tests/fuzz/run`, `dev/some`, `tests/contract/grants.json`")
        for path in (
            *("README.md", "tests/empty/README.md", "tests/empty", "tests/empty/helper.rs", "tests/end_to_end"),
            *("deny.json", "dev/list", "dev/tests/world.py"),
        ):
            self.assertTrue((self.sources.root / path).exists(), path)
            self.bad(f"`{path}`")
        # What was measured where there is no test.
        self.good("no test: measured, by `tests/empty/helper.rs`")
        self.bad("no test: measured, by `tests/empty/gone.rs`")
        self.bad("no test: of all; of a part, `core ring::tests::three_keys`")

    def test_python(self):
        self.good("`dev/tests/test_some.py`, `Some`; `test_some`: `test_it`")
        for name in ("Other", "helper", "test_that"):
            self.bad(f"`test_some`: `{name}`")
        self.bad("`test_none`")

    def test_titles(self):
        self.good("`node retry`, `node retry::what isn’t sent twice`, `::what isn't…`, `::a restart`")
        self.good("`node retry`, `grpc/walk`")
        self.good("`node grpc/walk::in a walk`")
        self.bad("`node retry::sent twice`")
        self.bad("`node retry::no title`")
        self.bad("`node again`")
        self.bad("`node retry`, `grpc/run`")

    def test_other_languages(self):
        self.good("`python retry::test_a_pause`, `::many_pauses`, `python retry`")
        self.bad("`python retry::helper`")
        self.good("`go http/retry::TestAPause`, `::of no time`")
        for name in ("helper", "TestMain"):
            self.bad(f"`go http/retry::{name}`")
        self.bad("`go retry`")
        self.good("`java RetryTest::aPause`, `::ofMany`")
        self.bad("`java RetryTest::helper`")
        self.bad("`java Retry::aPause`")

    def test_a_row_has_a_test_or_says_that_it_has_none(self):
        self.assertEqual(self.complaints("somebody looked"), ["3: a row without a test"])
        self.assertEqual(self.complaints(""), ["3: a row without a test"])
        self.assertEqual(self.complaints("no test:"), ["3: a row without a test"])
        self.good("no test: the operator's")

    def test_names_in_prose(self):
        text = "Proven by `core ring::tests::three_keys`, in `core`, `sidecar/core` and `core/ring.rs`.\n"
        told = ["1: `core ring::tests::three_keys` is no test"]
        self.assertEqual(Page(self.sources, Rules()).complaints(text), told)

    def test_another_column_is_not_asked_for_tests(self):
        table = "| a | b |\n| --- | --- |\n| `x` | `y` |\n\n| a | test |\n| --- | --- |\n| `x` | `y` |\n"
        self.assertEqual(Page(self.sources, Rules()).complaints(table), ["7: `y` is no test"])


class Tables(InACheckout):
    def rows(self, *cells, heading="promise | proof", rules=Rules()):
        lines = [f"| {heading} |", "| --- | --- |", *(f"| some | {cell} |" for cell in cells)]
        return Page(self.sources, rules).complaints("\n".join(lines))

    def test_the_same_is_what_is_named_above(self):
        named, same = "`end_to_end::audit`", "the same"
        self.assertEqual(self.rows(named, same, same, "the same, `core ring::tests::one_key`"), [])
        for wrong in (["the same"], ["no test: the operator's, `end_to_end::audit`", same], ["", same]):
            told = f"{2 + len(wrong)}: nothing is named above that could be the same"
            self.assertIn(told, self.rows(*wrong), wrong)
        self.assertEqual(self.rows("much the same"), ["3: a row without a test"])
        # Nor is it what another table ends with.
        table = f"| a | test |\n| - | - |\n| b | {named} |\n\n| a | test |\n| - | - |\n| b | {same} |\n"
        told = ["7: nothing is named above that could be the same"]
        self.assertEqual(Page(self.sources, Rules()).complaints(table), told)

    def test_in_a_strict_page_a_table_has_the_column_or_is_known_to_claim_nothing(self):
        rules = Rules(whole=True, bare=frozenset({"key | bits"}))
        self.assertEqual(self.rows("`end_to_end::audit`", rules=rules), [])
        self.assertEqual(self.rows("`end_to_end::audit`", heading="key | bits", rules=rules), [])
        told = ["1: a table without a column of tests"]
        self.assertEqual(self.rows("nothing", heading="promise | proven by", rules=rules), told)
        self.assertEqual(self.rows("nothing", heading="promise | proven by"), [])


class TheDocuments(unittest.TestCase):
    def test_every_name_is_one(self):
        self.assertEqual(page.complaints(sources.ROOT), [])

    def test_each_of_their_names_is_looked_up(self):
        """One after the other is misspelt."""
        for path, rules in page.PAGES.items():
            checker = Page(sources.Sources(), rules)
            for line in (sources.ROOT / path).read_text().splitlines():
                for name in page.CODE.findall(line):
                    if page.NAMED.fullmatch(name):
                        misspelt = line.replace(f"`{name}`", f"`{name}_x`")
                        self.assertTrue(checker.of_prose([misspelt]), f"{path}: {name}")

    def test_a_column_that_is_headed_otherwise_is_found(self):
        checkout = sources.Sources()
        for path, rules in page.PAGES.items():
            text = (sources.ROOT / path).read_text()
            for heading in re.findall(r"^\|.* (?:test|proof) \|$", text, re.MULTILINE):
                renamed = text.replace(heading, heading.replace(" test |", " shown |"))
                missing = rules.bare is not None
                said = [why for why in Page(checkout, rules).complaints(renamed) if "a column of tests" in why]
                self.assertEqual(bool(said), missing, f"{path}: {heading}")

    def test_a_document_that_is_gone_is_found(self):
        with tempfile.TemporaryDirectory() as empty:
            self.assertEqual(len(page.complaints(pathlib.Path(empty))), len(page.PAGES))

    def test_every_test_of_the_core_is_found(self):
        """By a way of its own: attributes, as they stand in the files."""
        for family in ("core", "end_to_end"):
            base = DEV.parent / (sources.CRATES.get(family) or f"tests/{family}")
            text = "\n".join(file.read_text() for file in base.rglob("*.rs"))
            found = re.findall(r"^ *#\[(?:tokio::)?test\b", text, re.MULTILINE)
            self.assertEqual(len(sources.Sources().rust(family)), len(found), family)

    def test_the_command_says_so(self):
        done = subprocess.run([sys.executable, DEV / "proofs"], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
