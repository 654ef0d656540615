from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal, Union

import httpx
import pytest
from fastapi import APIRouter, Body, Depends, FastAPI, Request
from fastapi.sse import EventSourceResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from lunasec import AsyncLunaSec, FallbackTo, LunaSecError, NotFound, Token
from lunasec.fastapi import (
    LunaSecDep,
    LunaSecMiddleware,
    LunaSecRoute,
    Model,
    Rule,
    install,
    problem_of,
    problem_response,
    showing,
)
from sidecar import Sidecar
from toy import problem, token
from vault import Vault

pytestmark = pytest.mark.anyio


class Customer(Model):
    name: Annotated[Token, Rule(tokenize=True, detokenize=True)]
    card: Annotated[Token, Rule(tokenize=True, verify=True, grant="15m")]
    note: str = ""


class Order(Model):
    card: Annotated[Token, Rule(verify=True)]


class Named(Model):
    name: Annotated[Token, Rule(detokenize=True)]


async def known(lunasec: LunaSecDep) -> bool:
    return await lunasec.has_session()


class Stored:
    """As an object-relational mapper gives it back."""

    def __init__(self, customer: Customer) -> None:
        self.name, self.card, self.note = customer.name, customer.card, customer.note


def session_of(request: Any) -> Any:
    return request.headers.get("x-session")


def application(lunasec: AsyncLunaSec[Any]) -> FastAPI:
    app = FastAPI()
    install(app, lunasec, session=session_of)
    customers: list[Customer] = []
    app.state.customers = customers

    @app.post("/customers", status_code=201)
    async def create(customer: Customer) -> dict[str, int]:
        customers.append(customer)
        return {"number": len(customers) - 1}

    @app.post("/threads/customers", status_code=201)
    def create_in_a_thread(customer: Customer) -> int:
        customer.name.expose()
        customers.append(customer)
        return len(customers) - 1

    @app.get("/customers")
    async def every() -> list[Customer]:
        return customers

    @app.get("/customers/{number}", response_model=Customer)
    async def one(number: int) -> Any:
        return Stored(customers[number])

    @app.get("/masked", dependencies=[showing("mask")])
    async def masked() -> list[Customer]:
        return customers

    @app.get("/names", dependencies=[showing(FallbackTo(lambda token, error: "a customer"))])
    async def names(lunasec: LunaSecDep) -> list[str]:
        found = await lunasec.detokenize_batch([each.name for each in customers])
        return [each.value.reveal() if each.kind == "value" else each.value for each in found]

    @app.post("/orders")
    async def order(order: Order) -> dict[str, str]:
        return {"paid_with": order.card.expose()}

    @app.post("/log-out")
    async def log_out(lunasec: LunaSecDep) -> dict[str, bool]:
        await lunasec.revoke_all()
        return {"bye": True}

    @app.get("/broken")
    async def broken(lunasec: LunaSecDep) -> str:
        await lunasec.detokenize(token(404))
        return "never"

    return app


def browser(app: Any, session: str | None = "alice") -> httpx.AsyncClient:
    headers = {} if session is None else {"x-session": session}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app", headers=headers)


@pytest.fixture
def vault() -> Vault:
    return Vault()


@pytest.fixture
def app(vault: Vault) -> FastAPI:
    return application(AsyncLunaSec(transport=vault.aio()))


ALICE = {"name": "Alice", "card": "4111 1111 1111 1111"}


async def test_bodies_come_in_as_tokens_and_go_out_as_their_rules_say(app: FastAPI, vault: Vault) -> None:
    async with browser(app) as alice:
        assert (await alice.post("/customers", json=ALICE)).status_code == 201
        assert vault.paths() == ["/v1/tokenize:batch", "/v1/grants/create"]
        kept = app.state.customers[0]
        assert vault.values[kept.name.expose()]["value"] == "Alice"
        for path in ("/customers", "/customers/0"):
            got = await alice.get(path)
            said = got.json()[0] if path == "/customers" else got.json()
            assert said == {"name": "Alice", "card": kept.card.expose(), "note": ""}
            assert got.headers["cache-control"] == "no-store"
            assert "lunasec-degraded" not in got.headers
        assert {headers.get("lunasec-session") for headers in vault.headers} == {"alice"}


async def test_endpoints_that_are_functions_work_too(app: FastAPI, vault: Vault) -> None:
    async with browser(app) as alice:
        assert (await alice.post("/threads/customers", json=ALICE)).json() == 0
        assert vault.values[app.state.customers[0].card.expose()]["value"] == ALICE["card"]


async def test_a_hundred_fields_are_one_request(app: FastAPI, vault: Vault) -> None:
    async with browser(app) as alice:
        for n in range(50):
            await alice.post("/customers", json={**ALICE, "name": f"Alice {n}"})
        vault.asked.clear()
        got = (await alice.get("/customers")).json()
        assert [each["name"] for each in got] == [f"Alice {n}" for n in range(50)]
        assert vault.paths() == ["/v1/grants/create", "/v1/detokenize:batch"]


async def test_what_is_wrong_in_a_request_is_said_without_what_was_put_in(app: FastAPI, vault: Vault) -> None:
    async with browser(app) as alice:
        for body in ({"name": "Alice"}, {**ALICE, "note": {"secret": 1}}, {**ALICE, "name": 4111}, ["Alice"]):
            got = await alice.post("/customers", json=body)
            assert got.status_code == 422
            assert "Alice" not in got.text
            assert "4111" not in got.text
            assert "secret" not in got.text
        got = await alice.post("/orders", json={"card": "4111 1111"})
        assert (got.status_code, "4111" in got.text) == (422, False)
        assert vault.asked == []


@pytest.mark.parametrize("bad", [token(1), "••••"])
async def test_a_token_or_a_mask_is_no_value(app: FastAPI, vault: Vault, bad: str) -> None:
    async with browser(app) as alice:
        got = await alice.post("/customers", json={**ALICE, "name": bad})
        assert got.status_code == 400
        assert got.headers["content-type"] == "application/problem+json"
        assert (got.json()["code"], got.json()["field"]) == ("invalid_request", "name")
        assert bad not in got.text
        assert app.state.customers == []


async def test_verified_tokens_are_the_sessions_own(app: FastAPI, vault: Vault) -> None:
    async with browser(app) as alice, browser(app, "bob") as bob, browser(app, None) as nobody:
        await alice.post("/customers", json=ALICE)
        card = app.state.customers[0].card.expose()
        assert (await alice.post("/orders", json={"card": card})).json() == {"paid_with": card}
        refused = await bob.post("/orders", json={"card": card})
        assert (refused.status_code, refused.json()["code"]) == (403, "grant_denied")
        unknown = await bob.post("/orders", json={"card": token(999)})
        assert unknown.json() == refused.json()
        assert (await nobody.post("/orders", json={"card": card})).status_code == 401
        assert (await alice.post("/log-out")).json() == {"bye": True}
        assert (await alice.post("/orders", json={"card": card})).status_code == 403


async def test_sessions_of_requests_at_once_are_not_mixed_up(app: FastAPI, vault: Vault) -> None:
    async def buy(n: int) -> tuple[int, int]:
        async with browser(app, f"session {n}") as user:
            number = (await user.post("/customers", json={"name": f"name {n}", "card": f"card {n}"})).json()["number"]
            card = app.state.customers[number].card.expose()
            assert vault.values[card]["value"] == f"card {n}"
            mine = (await user.post("/orders", json={"card": card})).status_code
        async with browser(app, f"session {n + 1000}") as other:
            return mine, (await other.post("/orders", json={"card": card})).status_code

    assert await asyncio.gather(*(buy(n) for n in range(100))) == [(200, 403)] * 100


async def test_in_an_outage_writes_fail_and_pages_load_masked(app: FastAPI, vault: Vault) -> None:
    async with browser(app) as alice:
        await alice.post("/customers", json=ALICE)

        @app.get("/shown", dependencies=[showing("mask")])
        async def shown() -> list[Named]:
            return [Named(name=each.name) for each in app.state.customers]

        vault.away = "storage_unavailable"
        got = await alice.post("/customers", json=ALICE)
        assert (got.status_code, got.json()["code"]) == (503, "storage_unavailable")
        assert int(got.headers["retry-after"]) >= 1
        assert len(app.state.customers) == 1
        assert (await alice.post("/orders", json={"card": app.state.customers[0].card.expose()})).status_code == 503
        page = await alice.get("/shown")
        assert (page.status_code, page.json()) == (200, [{"name": "••••"}])
        assert page.headers["lunasec-degraded"] == "storage_unavailable"
        assert (await alice.get("/names")).json() == ["a customer"]
        vault.away = None
        assert (await alice.get("/shown")).json() == [{"name": "Alice"}]
        vault.degraded = "storage,keys"
        assert (await alice.get("/names")).headers["lunasec-degraded"] == "keys,storage"


async def test_a_page_waits_for_what_it_can_do_without_no_longer_than_its_patience() -> None:
    async def never(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    app = FastAPI()
    lunasec = AsyncLunaSec(transport=httpx.MockTransport(never), deadline=0.1, on_unavailable="mask")
    install(app, lunasec)

    @app.get("/page")
    async def page(lunasec: LunaSecDep) -> list[str]:
        return [(await lunasec.detokenize(token(n))).text for n in range(4)]

    begun = time.monotonic()
    async with browser(app) as alice:
        assert (await alice.get("/page")).json() == ["••••"] * 4
    assert time.monotonic() - begun < 2


async def test_errors_are_problems_by_class(app: FastAPI, vault: Vault) -> None:
    async with browser(app) as alice:
        got = await alice.get("/broken")
        assert got.status_code == 404
        assert got.json() == {
            "type": "urn:lunasec:error:not_found",
            "title": "Not Found",
            "status": 404,
            "detail": "there is no value any more",
            "code": "not_found",
            "retryable": False,
            "request_id": "r1",
        }
    assert problem_of(LunaSecError("rule 7 of /etc/lunasec", code="new_code"))["status"] == 500
    assert "rule 7" not in str(problem_of(LunaSecError("rule 7 of /etc/lunasec", code="new_code")))
    assert problem_response(NotFound("x")).status_code == 404


async def test_routers_and_applications_of_starlette(vault: Vault) -> None:
    lunasec = AsyncLunaSec(transport=vault.aio())

    async def page(request: Request) -> JSONResponse:
        made = await request.state.lunasec.tokenize("v")
        return JSONResponse({"token": made.token.expose()})

    starlette = Starlette(
        routes=[Route("/", page)], middleware=[Middleware(LunaSecMiddleware, client=lunasec, session=session_of)]
    )
    async with browser(starlette) as alice:
        assert (await alice.get("/")).json()["token"] in vault.values
    app = FastAPI()
    app.add_middleware(LunaSecMiddleware, client=lunasec, session=session_of)
    router = APIRouter(route_class=LunaSecRoute)

    @router.post("/c")
    async def create(customer: Customer) -> Customer:
        return customer

    app.include_router(router)
    async with browser(app) as alice:
        assert (await alice.post("/c", json=ALICE)).json()["name"] == "Alice"


async def test_a_session_is_asked_for_once_and_may_be_awaited(vault: Vault) -> None:
    asked: list[str] = []

    async def slow(request: Any) -> tuple[str, str]:
        asked.append(request.url.path)
        return "alice", "a.jwt"

    app = FastAPI()
    install(app, AsyncLunaSec(transport=vault.aio()), session=slow)

    @app.post("/c")
    async def create(customer: Customer, lunasec: LunaSecDep) -> bool:
        await lunasec.verify([customer.card])
        lunasec.rebind()
        return await lunasec.has_session()

    async with browser(app) as alice:
        assert (await alice.post("/c", json=ALICE)).json() is True
    assert asked == ["/c", "/c"]
    assert {headers["authorization"] for headers in vault.headers} == {"Bearer a.jwt"}


async def test_the_requests_trace_goes_along(app: FastAPI, vault: Vault) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    app2 = FastAPI()
    install(app2, AsyncLunaSec(transport=vault.aio(), telemetry=False))

    @app2.get("/t")
    async def page(lunasec: LunaSecDep) -> bool:
        await lunasec.tokenize("v")
        return True

    async with browser(app2) as alice:
        await alice.get("/t", headers={"traceparent": trace})
    assert vault.headers[-1]["traceparent"] == trace


def test_mistakes_are_said_when_the_application_is_made(vault: Vault) -> None:
    app = FastAPI()

    @app.get("/early")
    async def early() -> None: ...

    with pytest.raises(RuntimeError, match="before the routes"):
        install(app, AsyncLunaSec(transport=vault.aio()))


async def test_without_the_middleware_a_request_says_so(vault: Vault) -> None:
    app = FastAPI()

    @app.get("/")
    async def page(lunasec: LunaSecDep) -> None: ...

    with pytest.raises(RuntimeError, match="install"):
        async with browser(app) as alice:
            await alice.get("/")
    twice = Starlette(middleware=[Middleware(LunaSecMiddleware, client=AsyncLunaSec(transport=vault.aio()))] * 2)
    with pytest.raises(RuntimeError, match="two LunaSecMiddlewares"):
        async with browser(twice) as alice:
            await alice.get("/")


async def test_the_documentation_says_what_goes_in_and_out(app: FastAPI) -> None:
    async with browser(app) as alice:
        schemas = (await alice.get("/openapi.json")).json()["components"]["schemas"]
    assert schemas["Customer"]["properties"]["name"]["type"] == "string"


@pytest.fixture
async def real(own_sidecar: Sidecar) -> AsyncIterator[AsyncLunaSec[Any]]:
    async with AsyncLunaSec(socket=own_sidecar.socket, restart_grace=0.1) as lunasec:
        yield lunasec


async def test_against_a_real_sidecar_that_goes_away_and_comes_back(
    real: AsyncLunaSec[Any], own_sidecar: Sidecar
) -> None:
    app = application(real)

    @app.get("/shown", dependencies=[showing("mask")])
    async def shown() -> list[Named]:
        return [Named(name=each.name) for each in app.state.customers]

    async with browser(app) as alice, browser(app, "bob") as bob:
        assert (await alice.post("/customers", json=ALICE)).status_code == 201
        assert (await alice.get("/customers")).json()[0]["name"] == "Alice"
        card = app.state.customers[0].card.expose()
        assert (await bob.post("/orders", json={"card": card})).status_code == 403
        await asyncio.to_thread(own_sidecar.kill)
        page = await alice.get("/shown")
        assert (page.json(), page.headers["lunasec-degraded"]) == ([{"name": "••••"}], "sidecar_unreachable")
        assert (await alice.post("/customers", json=ALICE)).status_code == 503
        await asyncio.to_thread(own_sidecar.start)
        assert (await alice.get("/shown")).json() == [{"name": "Alice"}]
        assert (await alice.post("/orders", json={"card": card})).status_code == 200


async def test_dependencies_of_a_route_see_its_client(vault: Vault) -> None:
    app = FastAPI()
    install(app, AsyncLunaSec(transport=vault.aio()), session=session_of)

    @app.get("/")
    async def page(known: Annotated[bool, Depends(known)]) -> bool:
        return known

    async with browser(app) as alice, browser(app, None) as nobody:
        assert ((await alice.get("/")).json(), (await nobody.get("/")).json()) == (True, False)


def test_codes_have_a_status_each() -> None:
    from lunasec import errors

    for kind in errors._OF_ANSWERS:
        said = problem_of(kind("detail of the process", retryable=True))
        assert "process" not in str(said)
        assert said["status"] in (400, 401, 403, 404, 409, 410, 413, 429, 500, 503)
    assert problem("x", 400).status_code == 400


class Card(Model):
    number: Annotated[Token, Rule(tokenize=True)]


class Checked(Model):
    card: Annotated[Token, Rule(verify=True)]
    number: int


class Both(Model):
    name: Annotated[Token, Rule(detokenize=True)]
    card: Annotated[Token, Rule(grant="15m", detokenize=True)] = Token(token(2))


class Account(Model):
    number: Annotated[Token, Rule(tokenize=True, detokenize=True)]
    bank: str


class Unchecked(Model):
    card: Token


async def body_of(customer: Customer) -> Customer:
    return customer


async def test_a_value_becomes_one_token_also_where_it_is_validated_twice(vault: Vault) -> None:
    app = FastAPI()
    install(app, AsyncLunaSec(transport=vault.aio()), session=session_of)
    seen: list[Any] = []

    @app.post("/union")
    async def union(body: Card | Account) -> None:
        seen.append(body)

    @app.post("/depends")
    async def depends(customer: Customer, same: Annotated[Customer, Depends(body_of)]) -> None:
        assert (customer.name, customer.card) == (same.name, same.card)

    async with browser(app) as alice:
        assert (await alice.post("/union", json={"number": "4111", "bank": "b"})).status_code == 200
        assert [body["items"] for _, body in vault.asked] == [[{"value": "4111"}]]
        assert vault.values[seen[0].number.expose()]["value"] == "4111"
        vault.asked.clear()
        assert (await alice.post("/depends", json={"name": "Alice", "card": "4222"})).status_code == 200
        assert [each["value"] for each in vault.asked[0][1]["items"]] == ["Alice", "4222"]
        # Equal values of two fields are two tokens.
        vault.asked.clear()
        assert (await alice.post("/depends", json={"name": "4222", "card": "4222"})).status_code == 200
        assert len(vault.asked[0][1]["items"]) == 2


async def test_a_branch_of_a_union_that_was_not_chosen_is_not_verified(vault: Vault) -> None:
    app = FastAPI()
    install(app, AsyncLunaSec(transport=vault.aio()), session=session_of)

    @app.post("/")
    async def page(body: Checked | Unchecked) -> str:
        return type(body).__name__

    async with browser(app) as alice:
        assert (await alice.post("/", json={"card": token(7)})).json() == "Unchecked"
        assert vault.asked == []
        assert (await alice.post("/", json={"card": token(7), "number": 1})).status_code == 403


async def test_what_is_wrong_in_an_answer_is_said_without_what_it_was(vault: Vault) -> None:
    app = FastAPI()
    install(app, AsyncLunaSec(transport=vault.aio()), session=session_of)

    @app.get("/rows")
    async def rows() -> list[Named]:
        return [{"name": "4111 1111 1111 1111"}]  # type: ignore[list-item]

    async with browser(app) as alice:
        with pytest.raises(ValidationError) as caught:
            await alice.get("/rows")
    told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    told.stack = traceback.StackSummary.from_list([each for each in told.stack if "/lunasec/" in each.filename])
    assert len(told.stack) > 0
    for text in ("".join(traceback.format_exception(caught.value)), "".join(told.format()), str(caught.value.errors())):
        assert "4111 1111" not in text


async def test_what_does_not_go_out_is_neither_granted_nor_revealed(vault: Vault) -> None:
    app = FastAPI()
    install(app, AsyncLunaSec(transport=vault.aio()), session=session_of)
    name = vault.put("Alice")
    assert vault.put("4111") == token(2)

    @app.get("/excluded", response_model_exclude={"card"})
    @app.get("/included", response_model_include={"name"})
    @app.get("/unset", response_model_exclude_unset=True)
    @app.get("/defaults", response_model_exclude_defaults=True)
    async def page() -> Both:
        return Both(name=Token(name))

    async with browser(app) as alice:
        for path in ("/excluded", "/included", "/unset", "/defaults"):
            vault.asked.clear()
            assert (await alice.get(path)).json() == {"name": "Alice"}
            assert vault.asked == [("/v1/detokenize:batch", {"tokens": [name]})]
    assert vault.granted == set()


async def test_endpoints_without_tokens_are_as_they_were(vault: Vault) -> None:
    class Number(BaseModel):
        n: int

    class Endpoint:
        async def __call__(self) -> dict[str, int]:
            return {"n": 1}

    class Plain:
        def __init__(self) -> None:
            self.n = 1

    async def generated() -> AsyncIterator[Number]:
        yield Number(n=1)

    def in_a_thread() -> Iterator[Number]:
        yield Number(n=1)

    async def events() -> AsyncIterator[Number]:
        yield Number(n=1)

    async def unknown():  # type: ignore[no-untyped-def]
        return Plain()

    def answers(installed: bool) -> FastAPI:
        app = FastAPI()
        if installed:
            install(app, AsyncLunaSec(transport=vault.aio()))
        app.get("/generated")(generated)
        app.get("/thread")(in_a_thread)
        app.get("/events", response_class=EventSourceResponse)(events)
        app.get("/object")(Endpoint())
        app.get("/unknown")(unknown)
        return app

    async with browser(answers(True)) as with_it, browser(answers(False)) as without:
        for path in ("/generated", "/thread", "/events", "/object", "/unknown"):
            mine, plain = await with_it.get(path), await without.get(path)
            assert (path, mine.status_code, mine.text) == (path, 200, plain.text)
            assert mine.headers["content-type"] == plain.headers["content-type"]


def test_endpoints_that_yield_have_no_rules(vault: Vault) -> None:
    app = FastAPI()
    install(app, AsyncLunaSec(transport=vault.aio()))

    async def out() -> AsyncIterator[Named]:
        yield Named(name=Token(token(1)))

    def taken_in(order: list[Order]) -> Iterator[int]:
        yield 1

    for endpoint in (out, taken_in):
        with pytest.raises(TypeError, match="LunaSecDep"):
            app.post("/")(endpoint)


async def test_a_call_of_the_application_by_itself_leaves_the_request_its_session() -> None:
    vault = Vault()
    app = FastAPI()
    install(app, AsyncLunaSec(transport=vault.aio()), session=session_of)
    inside = browser(app, "service")

    @app.get("/flags")
    async def flags() -> dict[str, bool]:
        return {"on": True}

    async def ask() -> None:
        assert (await inside.get("/flags")).json() == {"on": True}

    @app.post("/orders", dependencies=[Depends(ask)])
    async def order(order: Order) -> None: ...

    @app.post("/customers", dependencies=[Depends(ask)])
    async def create(customer: Customer) -> Customer:
        return customer

    card = vault.put("4111")
    vault.granted = {("service", card)}
    async with browser(app, "mallory") as mallory:
        assert (await mallory.post("/orders", json={"card": card})).status_code == 403
        answer = await mallory.post("/customers", json={"name": "M", "card": "4222"})
    assert answer.json()["name"] == "M"
    assert vault.granted == {("service", card), ("mallory", answer.json()["card"])}
    await inside.aclose()


async def test_what_is_said_of_a_session_before_a_login_is_not_bound_after_it() -> None:
    vault = Vault()
    app = FastAPI()
    asked, may = asyncio.Event(), asyncio.Event()
    now = ["anonymous"]

    async def slow(request: Any) -> str:
        said = now[0]
        if said == "anonymous":
            asked.set()
            await may.wait()
        return said

    install(app, AsyncLunaSec(transport=vault.aio()), session=slow)

    @app.post("/login")
    async def login(lunasec: LunaSecDep) -> None:
        early = [asyncio.create_task(lunasec.detokenize(card)) for _ in range(2)]
        await asyncio.wait_for(asked.wait(), 5)
        now[0] = "alice"
        lunasec.rebind()
        await lunasec.tokenize("x")
        may.set()
        await asyncio.gather(*early)
        await lunasec.grant([card])

    card = vault.put("4111")
    async with browser(app) as user:
        assert (await user.post("/login")).status_code == 200
    assert vault.granted == {("alice", card)}
    assert {each["lunasec-session"] for each in vault.headers if "lunasec-session" in each} == {"alice"}


async def test_a_value_is_text_whatever_kind_of_body_it_is_in() -> None:
    vault = Vault()
    app = FastAPI()
    install(app, AsyncLunaSec(transport=vault.aio()))

    @app.post("/names")
    async def name(name: Annotated[Token, Rule(tokenize=True), Body()]) -> str:
        return name.expose()

    async with browser(app) as user:
        for kind in ("text/plain", "application/octet-stream", "application/xml"):
            answer = await user.post("/names", content=b"Mallory", headers={"content-type": kind})
            assert (answer.status_code, "Mallory" in answer.text) == (422, False)
        assert vault.asked == []
        assert (await user.post("/names", json="Alice")).status_code == 200
    assert all(each["encoding"] == "utf8" for each in vault.values.values())


Ruled = Annotated[Token, Rule(tokenize=True)]


class Debit(Model):
    kind: Literal["card"]
    number: Ruled


class Iban(Model):
    kind: Literal["iban"]
    number: Ruled


class Payment(Model):
    pay: Annotated[Union[Debit, Iban], Field(discriminator="kind")]
    prices: dict[str, int] = {}


async def test_mistakes_quote_neither_a_unions_tag_nor_a_maps_key() -> None:
    app = FastAPI()
    install(app, AsyncLunaSec(transport=Vault().aio()))

    @app.post("/payments")
    async def pay(payment: Payment, page: int = 1) -> None: ...

    good = {"kind": "card", "number": "4111"}
    async with browser(app) as user:
        answer = await user.post("/payments", json={"pay": {"kind": "4111 1111", "number": "card"}})
        assert (answer.status_code, "4111" in answer.text) == (422, False)
        assert answer.json()["detail"][0]["loc"] == ["body", "pay"]
        answer = await user.post("/payments?page=x", json={"pay": good, "prices": {"4111 1111": "x"}})
        assert [each["loc"] for each in answer.json()["detail"]] == [["query", "page"], ["body", "prices", "[key]"]]


class Past(Model):
    pin: Union[Ruled, int]


class Fine(Model):
    pin: Union[Ruled, None]
    both: Union[Fine, list[Ruled], None] = None


async def takes(past: Past) -> None: ...


async def inside(past: Annotated[Any, Depends(takes)]) -> None: ...


def test_a_union_that_lets_values_past_and_what_needs_their_hash_are_said_when_they_are_declared() -> None:
    app = FastAPI()
    install(app, AsyncLunaSec(transport=Vault().aio()))
    for path, endpoint in (("/1", takes), ("/2", inside)):
        with pytest.warns(UserWarning, match=r"past is a union of a token that is tokenized and of int"):
            app.post(path)(endpoint)

    @app.post("/fine")
    async def fine(fine: Fine) -> None: ...

    with pytest.raises(TypeError, match="take a list"):

        @app.post("/set")
        async def some(names: set[Ruled]) -> None: ...
