"""The release is upgraded and rolled back while pods are made. What the injector keeps is not the chart's to lose."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path

from cluster.application import ask_one, tokenize
from cluster.environment import BANK, CHART, ELSEWHERE, NAMESPACE, SHOP, changed, helm
from cluster.kubectl import get, kubectl

from . import Asking, Pods
from .test_injector import bundles, served

CARD = "4111 1111 1111 1111"


class AnUpgrade(Pods):
    def test_and_the_way_back_lose_no_pod_no_certificate_and_no_token(self) -> None:
        version = re.findall(r"^appVersion: \"?([\w.]+)", (CHART / "Chart.yaml").read_text(), re.MULTILINE)[0]
        one = self.pod(SHOP, "one")
        token = tokenize(SHOP, one, CARD)
        told, certificate = bundles(), served()
        with tempfile.TemporaryDirectory() as directory, Asking() as asking:
            before = older(Path(directory))
            # There is one version of the images so far, so that it is the chart alone which changes.
            changed("--set", f"image.sidecar.tag={version}", "--set", f"image.injector.tag={version}", chart=before)
            self.assertEqual(chart_of_release(), "lunasec-0.0.9")
            changed(chart=CHART)
            helm("rollback", "lunasec", "--wait")
            self.assertEqual(chart_of_release(), "lunasec-0.0.9")
            changed("--set", "image.sidecar.tag=", "--set", "image.injector.tag=", chart=CHART)
        self.assertEqual(asking.failed, [])
        self.assertGreater(asking.asked, 10)
        self.assertEqual((bundles(), served()), (told, certificate))
        other = self.pod(SHOP, "other")
        self.assertEqual(ask_one(SHOP, other, "detokenize", token=token)["value"], CARD)

    def test_to_a_configuration_with_a_mistake_stops_before_anything_is_changed(self) -> None:
        before = kept()
        self.addCleanup(changed, "--set", "config.degrade.journal_age=7d", chart=CHART)
        # Which the schema lets through.
        with self.assertRaisesRegex(AssertionError, "pre-upgrade"):
            changed("--set", "config.degrade.journal_age=400d", chart=CHART)
        self.assertEqual(kept(), before)
        words = kubectl("logs", "job/lunasec-check", "-n", NAMESPACE, "--all-containers", "--ignore-errors")
        self.assertRegex(words, "degrade.journal_age")
        self.pod(SHOP, "made-meanwhile")


def kept() -> list:
    """What pods and injectors read."""
    configured = [get("configmap", "lunasec", each)["data"] for each in (SHOP, BANK, ELSEWHERE)]
    return [configured, get("deployment", "lunasec-injector", NAMESPACE)["metadata"]["generation"], bundles()]


def older(directory: Path) -> Path:
    copy = directory / "lunasec"
    shutil.copytree(CHART, copy)
    said = (copy / "Chart.yaml").read_text()
    (copy / "Chart.yaml").write_text(re.sub(r"^version: .*$", "version: 0.0.9", said, flags=re.MULTILINE))
    return copy


def chart_of_release() -> str:
    (release,) = json.loads(helm("list", "--filter", "^lunasec$", "-o", "json"))
    return release["chart"]
