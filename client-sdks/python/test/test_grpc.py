"""Interceptors of grpcio's threads."""

from __future__ import annotations

import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_tools import protoc

import lunasec.grpc
from lunasec import FallbackTo, InvalidRequest, LunaSec, LunaSecError, options_pb2
from lunasec.grpc import FieldRuleError, ServerCall, client_interceptors, server_interceptor
from lunasec.grpc.caller import Caller
from shop_protos import generated, pb, stubs
from sidecar import Sidecar
from toy import Server, read_request, token
from vault import Vault


class Orders(stubs.OrdersServicer):  # type: ignore[misc]
    """Keeps what it was given, and gives it back."""

    def __init__(self) -> None:
        self.orders: list[Any] = []
        self.swallows = False

    def receipt(self, order: Any) -> Any:
        return pb.Receipt(
            id=order.id,
            card_number=order.card_number,
            saved_card=order.card_number,
            both=order.new_or_saved,
            scan=order.card_number.encode(),
        )

    def Place(self, order: Any, context: Any) -> Any:
        self.orders.append(order)
        return self.receipt(order)

    def Import(self, orders: Iterator[Any], context: Any) -> Any:
        try:
            self.orders.extend(orders)
        except Exception:
            if not self.swallows:
                raise
        return self.receipt(self.orders[-1]) if self.orders else pb.Receipt()

    def List(self, query: Any, context: Any) -> Iterator[Any]:
        for order in self.orders:
            yield self.receipt(order)

    def Chat(self, orders: Iterator[Any], context: Any) -> Iterator[Any]:
        for order in orders:
            self.orders.append(order)
            yield self.receipt(order)


class Shapes(stubs.ShapesServicer):  # type: ignore[misc]
    def __init__(self) -> None:
        self.seen: Any = None

    def Echo(self, wide: Any, context: Any) -> Any:
        self.seen = wide
        return wide


class Running:
    def __init__(self, *interceptors: Any) -> None:
        self.orders, self.shapes = Orders(), Shapes()
        self.server = grpc.server(ThreadPoolExecutor(32), interceptors=interceptors)
        stubs.add_OrdersServicer_to_server(self.orders, self.server)
        stubs.add_ShapesServicer_to_server(self.shapes, self.server)
        stubs.add_OpenServicer_to_server(stubs.OpenServicer(), self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.port}")
        self.stub = stubs.OrdersStub(self.channel)

    def end(self) -> None:
        self.channel.close()
        self.server.stop(None).wait()


Run = Callable[..., Running]


@pytest.fixture
def run() -> Iterator[Run]:
    running: list[Running] = []

    def start(*interceptors: Any) -> Running:
        running.append(Running(*interceptors))
        return running[-1]

    yield start
    for each in running:
        each.end()


@pytest.fixture
def vault() -> Vault:
    return Vault()


def serving(vault: Vault, **options: Any) -> Any:
    return server_interceptor(LunaSec(transport=vault.sync()), [pb], **{"session": "session", **options})


ALICE = (("session", "alice"),)
BOB = (("session", "bob"),)


def refused(call: Callable[[], Any]) -> tuple[Any, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def test_handlers_keep_tokens_and_callers_get_values(run: Run, vault: Vault) -> None:
    shop = run(serving(vault))
    answer = shop.stub.Place(pb.Order(id="1", card_number="4111", new_or_saved="4222"), metadata=ALICE)
    (kept,) = shop.orders.orders
    assert vault.values[kept.card_number]["value"] == "4111"
    assert (answer.card_number, answer.both, answer.scan) == ("4111", "4222", b"4111")
    assert answer.saved_card == kept.card_number
    assert vault.granted == {("alice", kept.card_number), ("alice", kept.new_or_saved)}
    assert vault.paths() == [
        "/v1/tokenize:batch",
        "/v1/grants/create",
        "/v1/grants/create",
        "/v1/grants/create",
        "/v1/detokenize:batch",
    ]


def test_streams_are_worked_on_a_message_at_a_time(run: Run, vault: Vault) -> None:
    shop = run(serving(vault))
    sent = [pb.Order(id=str(n), card_number=f"card {n}") for n in range(5)]
    assert shop.stub.Import(iter(sent), metadata=ALICE).card_number == "card 4"
    got = list(shop.stub.List(pb.Query(), metadata=ALICE))
    assert [each.card_number for each in got] == [f"card {n}" for n in range(5)]
    answers = shop.stub.Chat(iter(sent), metadata=ALICE)
    assert [next(answers).id for _ in range(5)] == ["0", "1", "2", "3", "4"]


def test_every_shape_of_field(run: Run, vault: Vault) -> None:
    shop = run(serving(vault))
    wide = pb.Wide(
        first_name="a",
        scan=b"\x89\x50",
        address_lines=["b", "", "c"],
        notes_of={"one": "d", "two": "e"},
        people={7: pb.Inner(full_name="f", open="open")},
        inner=pb.Inner(full_name="g"),
        inners=[pb.Inner(full_name="h"), pb.Inner(open="i")],
        card="j",
        maybe_empty="",
        tree=pb.Tree(leaf="k", branches=[pb.Tree(leaf="l", branches=[pb.Tree(leaf="m")])]),
        in_the_open="in the open",
        number=42,
        scans=[b"\x00", b"\xff"],
        line_1="n",
    )
    wide.wrapped.value = "o"
    wide.wrapped_scan.value = b"\xfe"
    before = wide.SerializeToString(deterministic=True)
    echoed = stubs.ShapesStub(shop.channel).Echo(wide)
    assert echoed == wide
    assert wide.SerializeToString(deterministic=True) == before
    seen = shop.shapes.seen
    kept = [seen.first_name, seen.scan.decode(), *seen.address_lines, *seen.notes_of.values(), seen.people[7].full_name]
    kept += [seen.inner.full_name, seen.inners[0].full_name, seen.card, seen.maybe_empty, seen.tree.leaf]
    kept += [seen.tree.branches[0].branches[0].leaf, *(each.decode() for each in seen.scans), seen.wrapped.value]
    kept += [seen.wrapped_scan.value.decode(), seen.line_1]
    assert all(each in vault.values for each in kept)
    assert len(set(kept)) == len(kept)
    assert (seen.in_the_open, seen.number, seen.people[7].open, seen.inners[1].full_name) == (
        "in the open",
        42,
        "open",
        "",
    )


@pytest.mark.parametrize("bad", [token(1), "••••", "[lunasec token: .expose() gives its text]"])
def test_what_is_no_value_is_refused_as_one(run: Run, vault: Vault, bad: str) -> None:
    shop = run(serving(vault))
    code, details = refused(lambda: shop.stub.Place(pb.Order(card_number=bad), metadata=ALICE))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith("shop.v1.Order.card_number: invalid_request: it holds")
    assert bad not in details
    assert (shop.orders.orders, vault.asked) == ([], [])


def test_a_token_comes_back_only_from_who_was_granted_it(run: Run, vault: Vault) -> None:
    shop = run(serving(vault))
    card = shop.stub.Place(pb.Order(card_number="4111"), metadata=ALICE).saved_card
    again = pb.Order(new_or_saved=card, saved_cards=[card, card])
    assert shop.stub.Place(again, metadata=ALICE).both == "4111"
    stranger = refused(lambda: shop.stub.Place(again, metadata=BOB))
    assert stranger[0] == grpc.StatusCode.PERMISSION_DENIED
    assert card not in stranger[1]
    unknown = refused(lambda: shop.stub.Place(pb.Order(new_or_saved=token(999)), metadata=BOB))
    assert unknown[0] == stranger[0]
    assert "grant_denied" in unknown[1]
    nobody = refused(lambda: shop.stub.Place(again))
    assert nobody[0] == grpc.StatusCode.UNAUTHENTICATED
    assert len(shop.orders.orders) == 2


def test_details_are_the_sidecars_own_form(run: Run, vault: Vault) -> None:
    told: list[tuple[str, str]] = []
    shop = run(serving(vault, on_error=lambda error, method: told.append((error.code, method))))
    vault.away = "storage_unavailable"
    with pytest.raises(grpc.RpcError) as caught:
        shop.stub.Place(pb.Order(card_number="4111"), metadata=ALICE)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
    for part in (
        b"google.rpc.ErrorInfo",
        b"storage_unavailable",
        b"lunasec",
        b"retryable",
        b"true",
        b"google.rpc.RetryInfo",
    ):
        assert part in details
    assert b"4111" not in details
    assert told == [("storage_unavailable", "/shop.v1.Orders/Place")]


def test_a_stream_that_fails_ends_with_its_status_whatever_its_handler_lets_pass(run: Run, vault: Vault) -> None:
    shop = run(serving(vault))
    sent = [pb.Order(card_number="good"), pb.Order(card_number=token(1)), pb.Order(card_number="never")]
    assert refused(lambda: shop.stub.Import(iter(sent), metadata=ALICE))[0] == grpc.StatusCode.INVALID_ARGUMENT
    shop.orders.swallows = True
    assert refused(lambda: shop.stub.Import(iter(sent), metadata=ALICE))[0] == grpc.StatusCode.INVALID_ARGUMENT
    got: list[str] = []

    def chat() -> None:
        for answer in shop.stub.Chat(iter(sent), metadata=ALICE):
            got.append(answer.card_number)

    assert refused(chat)[0] == grpc.StatusCode.INVALID_ARGUMENT
    assert got == ["good"]


def test_responses_may_be_masked_or_fall_back_and_what_cannot_be_shown_is_internal(run: Run, vault: Vault) -> None:
    vault.away_for = "/v1/detokenize"
    vault.away = "keys_unavailable"
    masking = run(serving(vault, on_unavailable="mask"))
    answer = masking.stub.Place(pb.Order(card_number="4111"), metadata=ALICE)
    assert (answer.card_number, answer.scan.decode(), answer.saved_card in vault.values) == ("••••", "••••", True)
    someone = run(serving(vault, on_unavailable=FallbackTo(lambda token, error: f"someone {error.code}")))
    answer = someone.stub.Place(pb.Order(card_number="4111"), metadata=ALICE)
    assert answer.card_number == "someone keys_unavailable"
    failing = run(serving(vault))
    order = pb.Order(card_number="4111")
    assert refused(lambda: failing.stub.Place(order, metadata=ALICE))[0] == grpc.StatusCode.UNAVAILABLE
    numbers = run(serving(vault, on_unavailable=FallbackTo(lambda *_: 42)))
    assert refused(lambda: numbers.stub.Place(order, metadata=ALICE))[0] == grpc.StatusCode.INTERNAL
    vault.away = None
    binary = vault.put("")
    vault.values[binary] = {"value": "AP8=", "encoding": "base64"}
    failing.orders.orders = [pb.Order(card_number=binary)]
    code, details = refused(lambda: next(failing.stub.List(pb.Query(), metadata=ALICE)))
    assert code == grpc.StatusCode.INTERNAL
    assert binary not in details


def test_too_many_values_in_one_message_are_refused(run: Run, vault: Vault) -> None:
    shop = run(serving(vault))
    many = pb.Wide(address_lines=["x"] * 2_001)
    code, details = refused(lambda: stubs.ShapesStub(shop.channel).Echo(many))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "2000" in details
    assert vault.asked == []


def test_methods_of_no_file_are_refused_unless_they_may_pass(run: Run, vault: Vault) -> None:
    services = [pb.DESCRIPTOR.services_by_name["Orders"]]
    lunasec_ = LunaSec(transport=vault.sync())
    shop = run(server_interceptor(lunasec_, services, session="session"))
    assert refused(lambda: stubs.ShapesStub(shop.channel).Echo(pb.Wide()))[0] == grpc.StatusCode.INTERNAL
    passing = run(server_interceptor(lunasec_, services, session="session", other_methods="pass"))
    assert stubs.ShapesStub(passing.channel).Echo(pb.Wide(first_name="a")).first_name == "a"


def test_values_need_not_cross_the_network(run: Run, vault: Vault) -> None:
    shop = run(serving(vault, edge="client"))
    lunasec_ = LunaSec(transport=vault.sync())
    channel = grpc.intercept_channel(shop.channel, *client_interceptors(lunasec_, [pb], session="alice"))
    stub = stubs.OrdersStub(channel)
    order = pb.Order(id="1", card_number="4111", new_or_saved="4222")
    answer = stub.Place(order, metadata=ALICE)
    assert (answer.card_number, answer.both) == ("4111", "4222")
    assert shop.orders.orders[0].card_number in vault.values
    assert order.card_number == "4111"
    assert [each.card_number for each in stub.List(pb.Query(), metadata=ALICE)] == ["4111"]
    sent = [pb.Order(card_number=f"card {n}") for n in range(3)]
    assert stub.Import(iter(sent), metadata=ALICE).card_number == "card 2"
    assert [each.card_number for each in stub.Chat(iter(sent), metadata=ALICE)] == ["card 0", "card 1", "card 2"]
    code, details = refused(lambda: shop.stub.Place(pb.Order(card_number="4111"), metadata=ALICE))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "clients tokenize this field" in details
    with pytest.raises(InvalidRequest):
        stub.Place(pb.Order(card_number=token(1)))
    with pytest.raises(InvalidRequest):
        stub.Import(iter([pb.Order(card_number=token(1))]))
    with pytest.raises(InvalidRequest):
        list(stub.Chat(iter([pb.Order(card_number=token(1))])))
    future = stub.Place.future(pb.Order(card_number="4333"), metadata=ALICE)
    assert future.result(5).card_number == "4333"


def test_sessions_of_calls_at_once_are_not_mixed_up(run: Run, vault: Vault) -> None:
    shop = run(serving(vault))

    def buy(n: int) -> tuple[str, Any]:
        mine = (("session", f"session {n}"),)
        answer = shop.stub.Place(pb.Order(card_number=f"card {n}"), metadata=mine)
        other = (("session", f"session {n + 1000}"),)
        again = pb.Order(saved_cards=[answer.saved_card])
        shop.stub.Place(again, metadata=mine)
        return answer.card_number, refused(lambda: shop.stub.Place(again, metadata=other))[0]

    with ThreadPoolExecutor(16) as pool:
        denied = grpc.StatusCode.PERMISSION_DENIED
        assert list(pool.map(buy, range(100))) == [(f"card {n}", denied) for n in range(100)]


def test_a_call_that_is_cancelled_gives_up_what_it_asked(own_sidecar: Sidecar, run: Run) -> None:
    ended = threading.Event()
    with LunaSec(socket=own_sidecar.socket) as client:
        shop = run(server_interceptor(client, [pb], session="session", on_error=lambda *_: ended.set()))
        shop.stub.Place(pb.Order(card_number="warm"), metadata=ALICE)
        own_sidecar.freeze()
        try:
            code, _ = refused(lambda: shop.stub.Place(pb.Order(card_number="4111"), metadata=ALICE, timeout=0.3))
            assert code == grpc.StatusCode.DEADLINE_EXCEEDED
            call = shop.stub.Place.future(pb.Order(card_number="4111"), metadata=ALICE)
            call.cancel()
        finally:
            own_sidecar.thaw()
        assert shop.stub.Place(pb.Order(card_number="4111"), metadata=ALICE).card_number == "4111"


def test_mistakes_in_rules_are_said_at_once_and_all(vault: Vault) -> None:
    text = """
        syntax = "proto3"; package wrong.v1; import "lunasec/options.proto";
        service Wrong { rpc Call(M) returns (M); }
        message M {
          int32 number = 1 [(lunasec.field).tokenize = true];
          string card = 2 [(lunasec.field) = { tokenize: true, grant: "soon" }];
          N n = 3 [(lunasec.field).verify = true];
        }
        message N { string x = 1; }
    """
    wrong, _ = generated("wrong", text)
    with pytest.raises(FieldRuleError) as caught:
        server_interceptor(LunaSec(transport=vault.sync()), [wrong], session="session")
    assert [mistake.split(":")[0] for mistake in caught.value.mistakes] == [
        "wrong.v1.M.number",
        "wrong.v1.M.card",
        "wrong.v1.M.n",
    ]
    with pytest.raises(TypeError, match="shop_pb2"):
        server_interceptor(LunaSec(transport=vault.sync()), ["shop.proto"])  # type: ignore[list-item]
    with pytest.raises(InvalidRequest):
        serving(vault, on_unavailable="masks")


def test_rules_that_would_never_be_carried_out_are_mistakes(vault: Vault) -> None:
    text = """
        syntax = "proto2"; package unused.v1; import "lunasec/options.proto";
        service Unused { rpc Call(Asked) returns (Answered); }
        message Asked {
          extensions 100 to 200;
          optional string shown = 1 [(lunasec.field).detokenize = true];
          optional string both = 2 [(lunasec.field) = { tokenize: true, grant: "15m" }];
          extend Asked { optional string inside = 101 [(lunasec.field).verify = true]; }
        }
        message Answered { optional string made = 1 [(lunasec.field).tokenize = true]; }
        extend Asked { optional string outside = 100 [(lunasec.field).verify = true]; }
    """
    unused, _ = generated("unused", text)
    with pytest.raises(FieldRuleError) as caught:
        server_interceptor(LunaSec(transport=vault.sync()), [unused])
    assert sorted(each.split(";")[0] for each in caught.value.mistakes) == [
        "unused.v1.Answered.made: it is only part of responses, where tokenize and verify do nothing",
        "unused.v1.Asked.both: grant and verify are for a session",
        "unused.v1.Asked.inside: a rule on an extension has no effect",
        "unused.v1.Asked.shown: it is only part of requests, where detokenize and grant do nothing",
        "unused.v1.outside: a rule on an extension has no effect",
    ]


def test_rules_of_sessions_need_one(vault: Vault) -> None:
    lunasec_ = LunaSec(transport=vault.sync())
    needing = {
        "shop.v1.Order.new_or_saved",
        "shop.v1.Order.saved_cards",
        "shop.v1.Receipt.saved_card",
        "shop.v1.Receipt.both",
    }
    ways: list[tuple[Callable[[], Any], set[str]]] = [
        (lambda: server_interceptor(lunasec_, [pb]), needing),
        (lambda: server_interceptor(lunasec_, [pb], edge="client"), needing),
        (lambda: client_interceptors(lunasec_, [pb]), {"shop.v1.Order.new_or_saved"}),
    ]
    for way, fields in ways:
        with pytest.raises(FieldRuleError) as caught:
            way()
        assert {each.split(":")[0] for each in caught.value.mistakes} == fields
    server_interceptor(lunasec_, [pb.DESCRIPTOR.services_by_name["Shapes"]])


def test_a_rule_that_is_newer_is_a_mistake(vault: Vault) -> None:
    file = descriptor_pb2.FileDescriptorProto(
        name="newer.proto", package="newer.v1", syntax="proto3", dependency=["lunasec/options.proto"]
    )
    field = file.message_type.add(name="M").field.add(name="x", number=1, type=9, label=1)
    # Member 15 of the option, true.
    field.options.MergeFromString(b"\xba\xba\x1c\x02\x78\x01")
    file.service.add(name="S").method.add(name="C", input_type=".newer.v1.M", output_type=".newer.v1.M")
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    with pytest.raises(FieldRuleError, match=r"newer\.v1\.M\.x: it has a rule that is newer"):
        server_interceptor(LunaSec(transport=vault.sync()), [pool.FindFileByName("newer.proto")])


def test_what_finding_a_session_raises_is_for_on_error_only(run: Run, vault: Vault) -> None:
    def session(call: ServerCall) -> str:
        assert "SECRETJWT" not in f"{call} {call!r}"
        raise ValueError(f"cannot decode {call.first('authorization')}")

    told: list[LunaSecError] = []
    shop = run(serving(vault, session=session, on_error=lambda error, _: told.append(error)))
    said = (("authorization", "Bearer SECRETJWT"),)
    code, details = refused(lambda: shop.stub.Place(pb.Order(card_number="4111"), metadata=said))
    assert (code, "SECRETJWT" in details) == (grpc.StatusCode.INTERNAL, False)
    assert [str(each.__cause__) for each in told] == ["cannot decode Bearer SECRETJWT"]


def _locals_of(error: BaseException) -> str:
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    return str([(each.name, each.locals) for each in told.stack if "/lunasec/" in each.filename])


def test_frames_of_interceptors_hold_no_message(run: Run, vault: Vault) -> None:
    told: list[LunaSecError] = []
    within: list[str] = []
    shop = run(serving(vault, on_error=lambda error, _: told.append(error)))
    vault.away = "storage_unavailable"
    order = pb.Order(card_number="a secret value")
    refused(lambda: shop.stub.Place(order, metadata=ALICE))
    assert "a secret value" not in _locals_of(told[0])

    def importing(orders: Iterator[Any], context: Any) -> Any:
        try:
            list(orders)
        except Exception as error:
            within.append(_locals_of(error))
            raise

    other = Orders()
    other.Import = importing  # type: ignore[method-assign]
    server = grpc.server(ThreadPoolExecutor(2), interceptors=[serving(vault)])
    stubs.add_OrdersServicer_to_server(other, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        refused(lambda: stubs.OrdersStub(channel).Import(iter([order]), metadata=ALICE))
    server.stop(None).wait()
    assert len(within) == 1
    assert "_take_in" in within[0]
    assert "a secret value" not in within[0]
    client = client_interceptors(LunaSec(transport=vault.sync()), [pb], session="alice")
    with pytest.raises(LunaSecError) as caught:
        stubs.OrdersStub(grpc.intercept_channel(shop.channel, *client)).Place(order)
    assert "intercept_unary_unary" in _locals_of(caught.value)
    assert "a secret value" not in _locals_of(caught.value)


def test_the_options_module_is_what_its_file_says(tmp_path: Path) -> None:
    out = f"{tmp_path}/options.binpb"
    well_known = Path(protoc.__file__).parent / "_proto"
    command = ["protoc", f"-I{lunasec.grpc.PROTO_DIR}", f"-I{well_known}", f"-o{out}", "lunasec/options.proto"]
    assert protoc.main(command) == 0
    with open(out, "rb") as file:
        (said,) = descriptor_pb2.FileDescriptorSet.FromString(file.read()).file
    ours = descriptor_pb2.FileDescriptorProto()
    options_pb2.DESCRIPTOR.CopyToProto(ours)
    assert ours == said


def test_against_a_real_sidecar_and_in_its_absence(own_sidecar: Sidecar, run: Run) -> None:
    with LunaSec(socket=own_sidecar.socket, restart_grace=0.1) as client:
        shop = run(server_interceptor(client, [pb], session="session"))
        answer = shop.stub.Place(pb.Order(card_number="4111"), metadata=ALICE)
        assert answer.card_number == "4111"
        again = pb.Order(saved_cards=[answer.saved_card])
        shop.stub.Place(again, metadata=ALICE)
        assert refused(lambda: shop.stub.Place(again, metadata=BOB))[0] == grpc.StatusCode.PERMISSION_DENIED
        own_sidecar.kill()
        code, details = refused(lambda: shop.stub.Place(pb.Order(card_number="4111"), metadata=ALICE))
        assert code == grpc.StatusCode.UNAVAILABLE
        assert own_sidecar.socket not in details
        own_sidecar.start()
        shop.stub.Place(again, metadata=ALICE)


def test_what_an_on_error_raises_is_a_warning(run: Run, vault: Vault) -> None:
    def broken(error: LunaSecError, method: str) -> None:
        raise KeyError("mine")

    shop = run(serving(vault, on_error=broken))
    with pytest.warns(UserWarning, match="on_error"):
        assert refused(lambda: shop.stub.Place(pb.Order(card_number="••••")))[0] == grpc.StatusCode.INVALID_ARGUMENT


def hanging(connection: socket.socket) -> None:
    read_request(connection)
    connection.recv(1)


def test_a_clients_interceptor_refuses_methods_that_it_does_not_know(run: Run, vault: Vault) -> None:
    shop = run()
    services = pb.DESCRIPTOR.services_by_name

    def stub(**options: Any) -> Any:
        interceptors = client_interceptors(LunaSec(transport=vault.sync()), [services["Orders"]], **options)
        return stubs.ShapesStub(grpc.intercept_channel(shop.channel, *interceptors))

    with pytest.raises(LunaSecError, match=r"in none of the \.proto files"):
        stub(session="alice").Echo(pb.Wide(first_name="a secret value"))
    assert shop.shapes.seen is None
    assert stub(session="alice", other_methods="pass").Echo(pb.Wide(first_name="as it is")).first_name == "as it is"


def test_a_clients_interceptor_keeps_the_calls_time(run: Run) -> None:
    shop = run()
    with Server(hanging) as server:
        interceptors = client_interceptors(LunaSec(socket=server.socket, deadline=6), [pb], session="alice")
        stub = stubs.OrdersStub(grpc.intercept_channel(shop.channel, *interceptors))
        orders = [pb.Order(card_number="4111")]
        for way in (
            lambda: stub.Place(orders[0], timeout=0.5),
            lambda: stub.Import(iter(orders), timeout=0.5),
            lambda: list(stub.Chat(iter(orders), timeout=0.5)),
        ):
            begun = time.monotonic()
            with pytest.raises((LunaSecError, grpc.RpcError)):
                way()
            assert time.monotonic() - begun < 3


def test_a_session_that_is_said_twice_is_refused_and_its_key_may_be_in_capitals(run: Run, vault: Vault) -> None:
    shop = run(serving(vault, session="X-Session"))
    order = pb.Order(id="1", card_number="4111")
    shop.stub.Place(order, metadata=(("x-session", "alice"),))
    assert {session for session, _ in vault.granted} == {"alice"}
    for said in (("alice", "bob"), ("bob", "alice"), ("alice", "alice")):
        metadata = tuple(("x-session", each) for each in said)
        assert (
            refused(lambda said=metadata: shop.stub.Place(order, metadata=said))[0] == grpc.StatusCode.UNAUTHENTICATED
        )
    assert {session for session, _ in vault.granted} == {"alice"}


def test_a_call_has_one_session_also_where_it_is_asked_for_twice_at_once() -> None:
    lunasec_ = LunaSec(transport=Vault().sync())
    said = ["first", "second"]
    caller: Any = None

    def find() -> str:
        mine = said.pop(0)
        if said:
            # Meanwhile the other direction of the stream asks, too.
            assert caller.target(True)._view.says.session == "second"
        return mine

    caller = Caller(lunasec_, find)
    assert caller.target(True)._view.says.session == "second"
    assert caller.target(True)._view.says.session == "second"


class Recorder(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    def __init__(self) -> None:
        self.timeouts: list[float] = []

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        self.timeouts.append(client_call_details.timeout)
        return continuation(client_call_details, request)


def test_the_time_that_tokenizing_takes_is_of_the_calls(run: Run, vault: Vault) -> None:
    def slow(request: httpx.Request) -> httpx.Response:
        time.sleep(0.3)
        return vault(request)

    shop, recorder = run(), Recorder()
    interceptors = client_interceptors(LunaSec(transport=httpx.MockTransport(slow)), [pb], session="alice")
    channel = grpc.intercept_channel(shop.channel, *interceptors, recorder)
    stubs.OrdersStub(channel).Place(pb.Order(card_number="4111"), timeout=30)
    assert 0 < recorder.timeouts[0] <= 29.7
