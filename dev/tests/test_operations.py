"""docs/operations.md: every alert is there, links lead somewhere, manifests are YAML, and costs are what requests cost."""

import re
import unittest

import yaml
from world import DEV

ROOT = DEV.parent
DOCS = ROOT / "docs"
TEXT = (DOCS / "operations.md").read_text()


def section(title: str) -> str:
    [_, found] = re.split(rf"^## {title}$", TEXT, flags=re.MULTILINE)
    return re.split(r"^## ", found, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """Of all tables, without their heads."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    rules = [at for at, cells in enumerate(lines) if set("".join(cells)) <= set("- ")]
    return [cells for at, cells in enumerate(lines) if at not in rules and at + 1 not in rules]


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}


class Alerts(unittest.TestCase):
    def test_each_has_a_row_that_says_what_it_is_where_to_look_what_to_do_and_when_it_ends(self):
        files = sorted((ROOT / "helm/lunasec/files").glob("alerts*.yaml"))
        rules = [name for file in files for name in re.findall(r"- alert: (\w+)", file.read_text())]
        self.assertGreater(len(rules), 20)
        found = rows(section("Alerts"))
        self.assertEqual({cells[0].strip("`") for cells in found} & set(rules), set(rules))
        for cells in found:
            self.assertEqual(len(cells), 5, cells[0])
            self.assertTrue(all(cells), cells[0])


class Links(unittest.TestCase):
    def test_lead_to_a_title(self):
        found = re.findall(r"\]\(([^)#]*)#([^)]*)\)", TEXT)
        self.assertGreater(len(found), 10)
        for page, anchor in found:
            text = (DOCS / page).read_text() if page else TEXT
            self.assertIn(anchor, anchors(text), f"{page}#{anchor}")


class Manifests(unittest.TestCase):
    def test_are_restricted(self):
        blocks = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(apiVersion.*?)^```", TEXT, re.MULTILINE | re.DOTALL)]
        self.assertEqual([block["kind"] for block in blocks], ["Pod", "Job"])
        for block in blocks:
            spec = block["spec"]
            pod = spec["template"]["spec"] if "template" in spec else spec
            [container] = pod["containers"]
            self.assertIs(pod["automountServiceAccountToken"], False)
            self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
            self.assertEqual(
                container["securityContext"],
                {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            )
            self.assertEqual({mount["name"] for mount in container["volumeMounts"]}, {volume["name"] for volume in pod["volumes"]})


class Costs(unittest.TestCase):
    PRICES = {"PUT": 5.00, "GET": 0.40}

    def test_are_what_the_requests_cost(self):
        counted = 0
        for _, requests, costs in rows(section("What a million tokens cost").split("What is paid for")[0]):
            for each, cost in zip(requests.split(";"), costs.split(";")):
                found = re.findall(r"(?:^|, | )(\d) (PUT|GET)\b", each)
                if found:
                    counted += 1
                    paid = sum(int(number) * self.PRICES[kind] for number, kind in found)
                    self.assertEqual(cost.strip(), f"${paid:.2f}", requests)
        self.assertEqual(counted, 10)
