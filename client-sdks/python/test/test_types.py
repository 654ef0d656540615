"""The types that an application sees, by both checkers: what they take, and what they refuse."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent
BAD = HERE / "types/bad.py"


def mypy(path: Path) -> list[int]:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file=", "--hide-error-context"]
    done = subprocess.run([*command, str(path)], cwd=ROOT / "src", capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "/" not in re.sub(re.escape(str(path)), "", done.stdout) or "error" not in done.stdout.split(str(path))[0]
    return sorted({int(line) for line in re.findall(r":(\d+): error", done.stdout)})


def pyright(path: Path) -> list[int]:
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    said = json.loads(done.stdout)
    errors = [each for each in said["generalDiagnostics"] if each["severity"] == "error"]
    return sorted({each["range"]["start"]["line"] + 1 for each in errors})


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_what_is_right_is_taken(checker: object) -> None:
    assert checker(HERE / "types/good.py") == []  # type: ignore[operator]


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_what_is_wrong_is_refused_and_nothing_else(checker: object) -> None:
    lines = BAD.read_text().splitlines()
    assert checker(BAD) == [n for n, line in enumerate(lines, 1) if "# refused" in line]  # type: ignore[operator]
