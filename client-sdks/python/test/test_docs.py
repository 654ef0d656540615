"""Every snippet of every page, run as it stands against the release binary: a page's snippets are one program."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from sidecar import Sidecar

ROOT = Path(__file__).parent.parent
PAGES = {"README.md": 10, "docs/pydantic.md": 1, "docs/fastapi.md": 3, "docs/sqlalchemy.md": 1, "docs/grpc.md": 1}


def snippets(page: str, language: str = "python") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(), flags=re.S | re.M)


class Seen(list[Any]):
    def __call__(self, thing: object) -> None:
        self.append(thing)


async def run(page: str) -> dict[str, Any]:
    # As a module, so that what is declared in it can be found by name.
    module = types.ModuleType("page_" + re.sub(r"\W", "_", page))
    sys.modules[module.__name__] = module
    names: dict[str, Any] = vars(module)
    names.update({each: Seen() for each in ("render", "charge", "log", "respond")})
    for index, snippet in enumerate(snippets(page)):
        code = compile(snippet, f"{page} #{index}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        ran = eval(code, names)
        if inspect.isawaitable(ran):
            await ran
    return names


@pytest.fixture(autouse=True)
def at_the_socket(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNASEC_SOCKET", sidecar.socket)


def test_every_page_is_run_and_none_lost_its_snippets() -> None:
    pages = [str(path.relative_to(ROOT)) for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))]
    assert sorted(pages) == sorted(PAGES)
    assert all(len(snippets(page)) >= least for page, least in PAGES.items())


def test_the_readme() -> None:
    names = asyncio.run(run("README.md"))
    assert names["number"] == "4111 1111 1111 1111"
    assert names["found"].value.reveal() == "4111 1111 1111 1111"
    assert names["charge"] == ["4111 1111 1111 1111"]
    assert names["content"] == b"\x89\x50"
    assert names["respond"] == []
    assert names["render"] == ["4111 1111 1111 1111"] * 3 + [1, ["4111 1111 1111 1111"]]
    names["lunasec"].close()


def test_pydantic() -> None:
    names = asyncio.run(run("docs/pydantic.md"))
    assert names["row"]["name"].startswith("lunasec-")


def test_sqlalchemy() -> None:
    names = asyncio.run(run("docs/sqlalchemy.md"))
    assert names["render"] == ["Alice"]
    names["engine"].dispose()


def test_fastapi() -> None:
    import httpx

    async def use() -> None:
        names = await run("docs/fastapi.md")
        transport = httpx.ASGITransport(names["app"])
        async with httpx.AsyncClient(transport=transport, base_url="http://app", headers={"x-session": "a"}) as alice:
            assert (await alice.post("/customers", json={"name": "Alice", "card": "4111"})).status_code == 201
            (got,) = (await alice.get("/customers")).json()
            assert got == {"name": "Alice", "card": names["customers"][0].card.expose()}
            assert (await alice.post("/orders", json={"card": got["card"]})).json() == {"paid_with": got["card"]}
            assert (await alice.get("/names")).json() == [{"name": "Alice"}]
            assert (await alice.post("/log-out")).status_code == 200
            assert (await alice.post("/orders", json={"card": got["card"]})).status_code == 403

    asyncio.run(use())


def test_grpc() -> None:
    from shop_protos import generated

    (proto,) = snippets("docs/grpc.md", "proto")
    generated("notes", proto)
    assert asyncio.run(run("docs/grpc.md"))["note"].text_token.startswith("lunasec-")
