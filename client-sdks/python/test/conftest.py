from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from sidecar import Sidecar


@pytest.fixture(scope="session")
def sidecar() -> Iterator[Sidecar]:
    """One that all tests share which do not harm it."""
    running = Sidecar()
    yield running
    running.end()


@pytest.fixture
def own_sidecar() -> Iterator[Sidecar]:
    """One that a test may stop, kill and freeze."""
    running = Sidecar()
    yield running
    running.end()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
