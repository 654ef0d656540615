"""Interceptors of grpc.aio."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from lunasec import AsyncLunaSec, InvalidRequest, LunaSecError
from lunasec.grpc import ServerCall, aio_client_interceptors, aio_server_interceptor
from shop_protos import pb, stubs
from sidecar import Sidecar
from test_grpc import hanging
from toy import Server, token
from vault import Vault

pytestmark = pytest.mark.anyio

ALICE = (("session", "alice"),)
BOB = (("session", "bob"),)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
async def one_loop(anyio_backend: str) -> AsyncIterator[None]:
    """For all tests: grpc.aio has one poller for the process, which may still tell a loop of what has ended in it."""
    yield  # noqa: PT022 - anyio keeps a loop for as long as a fixture has something left to do in it


class Orders(stubs.OrdersServicer):  # type: ignore[misc]
    def __init__(self) -> None:
        self.orders: list[Any] = []
        self.cancelled = asyncio.Event()

    def receipt(self, order: Any) -> Any:
        return pb.Receipt(
            id=order.id, card_number=order.card_number, saved_card=order.card_number, both=order.new_or_saved
        )

    async def Place(self, order: Any, context: Any) -> Any:
        self.orders.append(order)
        return self.receipt(order)

    async def Import(self, orders: Any, context: Any) -> Any:
        async for order in orders:
            self.orders.append(order)
        return self.receipt(self.orders[-1])

    async def List(self, query: Any, context: Any) -> AsyncIterator[Any]:
        for order in self.orders:
            yield self.receipt(order)

    async def Chat(self, orders: Any, context: Any) -> None:
        """By reading and writing, as grpc.aio has it, too."""
        while (order := await context.read()) is not grpc.aio.EOF:
            self.orders.append(order)
            await context.write(self.receipt(order))


class Running:
    def __init__(self, *interceptors: Any) -> None:
        self.orders = Orders()
        self.server = grpc.aio.server(interceptors=interceptors)
        stubs.add_OrdersServicer_to_server(self.orders, self.server)
        stubs.add_OpenServicer_to_server(stubs.OpenServicer(), self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    async def __aenter__(self) -> Running:
        await self.server.start()
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.port}")
        self.stub = stubs.OrdersStub(self.channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()
        await self.server.stop(None)


def serving(vault: Vault, **options: Any) -> Running:
    lunasec = AsyncLunaSec(transport=vault.aio())
    return Running(aio_server_interceptor(lunasec, [pb], **{"session": "session", **options}))


async def refused(call: Any) -> tuple[Any, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details() or ""


async def every(stream: Any) -> list[Any]:
    return [each async for each in stream]


async def test_calls_and_streams_of_every_kind() -> None:
    vault = Vault()
    async with serving(vault) as shop:
        answer = await shop.stub.Place(pb.Order(card_number="4111", new_or_saved="4222"), metadata=ALICE)
        assert (answer.card_number, answer.both) == ("4111", "4222")
        assert vault.values[shop.orders.orders[0].card_number]["value"] == "4111"
        sent = [pb.Order(id=str(n), card_number=f"card {n}") for n in range(3)]
        assert (await shop.stub.Import(iter(sent), metadata=ALICE)).card_number == "card 2"
        assert [each.card_number for each in await every(shop.stub.List(pb.Query(), metadata=ALICE))][1:] == [
            "card 0",
            "card 1",
            "card 2",
        ]
        chat = await every(shop.stub.Chat(iter(sent), metadata=ALICE))
        assert [each.card_number for each in chat] == ["card 0", "card 1", "card 2"]
        assert {("alice", each.saved_card) for each in chat} <= vault.granted


async def test_refusals_and_outages_are_statuses() -> None:
    vault = Vault()
    told: list[str] = []
    async with serving(vault, on_error=lambda error, _: told.append(error.code)) as shop:
        card = (await shop.stub.Place(pb.Order(card_number="4111"), metadata=ALICE)).saved_card
        code, details = await refused(shop.stub.Place(pb.Order(card_number=card), metadata=ALICE))
        assert (code, card in details) == (grpc.StatusCode.INVALID_ARGUMENT, False)
        mine = pb.Order(saved_cards=[card])
        await shop.stub.Place(mine, metadata=ALICE)
        assert (await refused(shop.stub.Place(mine, metadata=BOB)))[0] == grpc.StatusCode.PERMISSION_DENIED
        assert (await refused(shop.stub.Place(mine)))[0] == grpc.StatusCode.UNAUTHENTICATED
        for stream in (shop.stub.Import, shop.stub.Chat):
            sent = iter([pb.Order(card_number="good"), pb.Order(card_number="••••")])
            call = stream(sent, metadata=ALICE)
            waited = every(call) if stream is shop.stub.Chat else call
            assert (await refused(waited))[0] == grpc.StatusCode.INVALID_ARGUMENT
        vault.away = "overloaded"
        assert (await refused(every(shop.stub.List(pb.Query(), metadata=ALICE))))[0] == grpc.StatusCode.UNAVAILABLE
        assert told == [
            "invalid_request",
            "grant_denied",
            "unauthenticated",
            "invalid_request",
            "invalid_request",
            "overloaded",
        ]


async def test_a_session_may_be_awaited_and_is_asked_for_once() -> None:
    asked: list[str] = []

    async def session_of(call: ServerCall) -> tuple[str, str]:
        asked.append(call.method)
        return call.first("session") or "", "a.jwt"

    vault = Vault()
    async with serving(vault, session=session_of) as shop:
        await shop.stub.Place(pb.Order(card_number="4111", new_or_saved="4222"), metadata=ALICE)
    assert asked == ["/shop.v1.Orders/Place"]
    assert {headers["authorization"] for headers in vault.headers} == {"Bearer a.jwt"}


async def test_values_need_not_cross_the_network() -> None:
    vault = Vault()
    lunasec = AsyncLunaSec(transport=vault.aio())
    async with serving(vault, edge="client") as shop:
        interceptors = aio_client_interceptors(lunasec, [pb], session="alice")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{shop.port}", interceptors=interceptors) as channel:
            stub = stubs.OrdersStub(channel)
            answer = await stub.Place(pb.Order(card_number="4111", new_or_saved="4222"), metadata=ALICE)
            assert (answer.card_number, answer.both) == ("4111", "4222")
            assert shop.orders.orders[0].card_number in vault.values
            assert [each.card_number for each in await every(stub.List(pb.Query(), metadata=ALICE))] == ["4111"]
            sent = [pb.Order(card_number=f"card {n}") for n in range(3)]
            assert (await stub.Import(iter(sent), metadata=ALICE)).card_number == "card 2"
            got = await every(stub.Chat(iter(sent), metadata=ALICE))
            assert [each.card_number for each in got] == ["card 0", "card 1", "card 2"]
            with pytest.raises(InvalidRequest):
                await stub.Place(pb.Order(card_number=token(1)))
        code, _ = await refused(shop.stub.Place(pb.Order(card_number="4111"), metadata=ALICE))
        assert code == grpc.StatusCode.INVALID_ARGUMENT


async def test_sessions_of_calls_at_once_are_not_mixed_up() -> None:
    vault = Vault()
    async with serving(vault) as shop:

        async def buy(n: int) -> tuple[str, Any]:
            mine = (("session", f"session {n}"),)
            answer = await shop.stub.Place(pb.Order(card_number=f"card {n}"), metadata=mine)
            again = pb.Order(saved_cards=[answer.saved_card])
            await shop.stub.Place(again, metadata=mine)
            other = (("session", f"session {n + 1000}"),)
            return answer.card_number, (await refused(shop.stub.Place(again, metadata=other)))[0]

        denied = grpc.StatusCode.PERMISSION_DENIED
        assert await asyncio.gather(*(buy(n) for n in range(100))) == [(f"card {n}", denied) for n in range(100)]


async def test_against_a_real_sidecar_and_in_its_absence(own_sidecar: Sidecar) -> None:
    lunasec = AsyncLunaSec(socket=own_sidecar.socket, restart_grace=0.1)
    async with lunasec, Running(aio_server_interceptor(lunasec, [pb], session="session")) as shop:
        card = (await shop.stub.Place(pb.Order(card_number="4111"), metadata=ALICE)).saved_card
        mine = pb.Order(saved_cards=[card])
        assert (await refused(shop.stub.Place(mine, metadata=BOB)))[0] == grpc.StatusCode.PERMISSION_DENIED
        own_sidecar.freeze()
        late = shop.stub.Place(mine, metadata=ALICE, timeout=0.2)
        assert (await refused(late))[0] == grpc.StatusCode.DEADLINE_EXCEEDED
        own_sidecar.thaw()
        await asyncio.to_thread(own_sidecar.kill)
        assert (await refused(shop.stub.Place(mine, metadata=ALICE)))[0] == grpc.StatusCode.UNAVAILABLE
        await asyncio.to_thread(own_sidecar.start)
        await shop.stub.Place(mine, metadata=ALICE)


def _locals_of(error: BaseException) -> str:
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    return str([(each.name, each.locals) for each in told.stack if "/lunasec/" in each.filename])


async def test_frames_hold_no_message_and_what_finding_a_session_raises_stays_here() -> None:
    vault = Vault()
    told: list[LunaSecError] = []
    order = pb.Order(card_number="a secret value")

    async def session(call: ServerCall) -> str:
        raise ValueError(f"cannot decode {call.first('authorization')}")

    async with serving(vault, session=session, on_error=lambda error, _: told.append(error)) as shop:
        said = (("authorization", "Bearer SECRETJWT"),)
        code, details = await refused(shop.stub.Place(order, metadata=said))
        assert (code, "SECRETJWT" in details) == (grpc.StatusCode.INTERNAL, False)
        assert "SECRETJWT" in str(told[0].__cause__)
    vault.away = "storage_unavailable"
    async with serving(vault, on_error=lambda error, _: told.append(error)) as shop:
        await refused(shop.stub.Place(order, metadata=ALICE))
        assert "a secret value" not in _locals_of(told[1])
        interceptors = aio_client_interceptors(AsyncLunaSec(transport=vault.aio()), [pb], session="alice")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{shop.port}", interceptors=interceptors) as channel:
            with pytest.raises(LunaSecError) as caught:
                await stubs.OrdersStub(channel).Place(order)
    assert "intercept_unary_unary" in _locals_of(caught.value)
    assert "a secret value" not in _locals_of(caught.value)


async def test_a_clients_interceptor_refuses_methods_that_it_does_not_know() -> None:
    vault = Vault()
    async with Running() as shop:
        services = pb.DESCRIPTOR.services_by_name

        def channel(**options: Any) -> Any:
            lunasec = AsyncLunaSec(transport=vault.aio())
            interceptors = aio_client_interceptors(lunasec, [services["Shapes"]], session="alice", **options)
            return grpc.aio.insecure_channel(f"127.0.0.1:{shop.port}", interceptors=interceptors)

        async with channel() as refusing, channel(other_methods="pass") as passing:
            with pytest.raises(LunaSecError, match=r"in none of the \.proto files"):
                await stubs.OrdersStub(refusing).Place(pb.Order(card_number="a secret value"))
            assert shop.orders.orders == []
            answer = await stubs.OrdersStub(passing).Place(pb.Order(card_number="as it is"))
            assert answer.card_number == "as it is"


async def test_a_clients_interceptor_keeps_the_calls_time() -> None:
    with Server(hanging) as server:
        async with Running() as shop, AsyncLunaSec(socket=server.socket, deadline=6) as lunasec:
            interceptors = aio_client_interceptors(lunasec, [pb], session="alice")
            async with grpc.aio.insecure_channel(f"127.0.0.1:{shop.port}", interceptors=interceptors) as channel:
                begun = asyncio.get_running_loop().time()
                with pytest.raises(LunaSecError):
                    await stubs.OrdersStub(channel).Place(pb.Order(card_number="4111"), timeout=0.5)
                assert asyncio.get_running_loop().time() - begun < 3
