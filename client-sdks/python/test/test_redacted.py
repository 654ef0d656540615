from __future__ import annotations

import asyncio
import copy
import dataclasses
import json
import logging
import pickle
import pprint
import socket
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from pydantic import ValidationError
from starlette.requests import HTTPConnection

from lunasec import (
    AsyncLunaSec,
    InvalidRequest,
    InvalidToken,
    Item,
    LunaSec,
    LunaSecError,
    NotFound,
    Plaintext,
    ProtocolError,
    Retry,
    Token,
)
from lunasec.fastapi import RequestLunaSec
from lunasec.pydantic import Model, Rule, validate
from lunasec.results import Tokenized, Value
from lunasec.sqlalchemy import Shown, TokenType
from sidecar import Sidecar
from toy import Function, Server, answer, problem, read_request, token

SECRET = "4111 1111 1111 1111"
TOKEN = token(1)
TokenizedField = Annotated[Token, Rule(tokenize=True)]


@pytest.mark.parametrize("thing", [Token(TOKEN), Plaintext(SECRET), Plaintext(SECRET.encode())])
def test_nothing_that_prints_by_itself_shows_what_is_inside(thing: Any, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("t").warning("%s %r", thing, thing)
    value = Value(Token(TOKEN), Plaintext(SECRET), None, None)
    ways = [repr(thing), str(thing), f"{thing}", f"{thing!r:>60}", f"{thing:>60}", pprint.pformat({"a": [thing]})]
    ways += [caplog.text, repr(value), repr(Tokenized(Token(TOKEN), "stored")), repr(Item(SECRET)), repr([thing])]
    ways += [json.dumps({"t": thing}, default=str), repr(dataclasses.asdict(value)), "{}".format(thing)]  # noqa: UP032
    # As a debugger opens an object.
    ways += [repr({name: getattr(thing, name) for name in dir(thing) if not callable(getattr(thing, name))})]
    ways += [repr(thing._ask)]
    for way in ways:
        assert SECRET not in way
        assert TOKEN not in way
    assert "[lunasec " in str(thing)


@pytest.mark.parametrize("thing", [Token(TOKEN), Plaintext(SECRET)])
def test_serialisers_refuse_it(thing: Any) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(thing, protocol)
    with pytest.raises(TypeError):
        json.dumps(thing)
    with pytest.raises(TypeError):
        vars(thing)


@pytest.mark.parametrize("thing", [Token(TOKEN), Plaintext(SECRET)])
def test_it_neither_changes_nor_is_copied_nor_has_subclasses(thing: Any) -> None:
    assert copy.copy(thing) is thing
    assert copy.deepcopy([thing])[0] is thing
    with pytest.raises(AttributeError):
        thing.text = "other"
    with pytest.raises(AttributeError):
        del thing._ask
    with pytest.raises(TypeError):
        type("Loud", (type(thing),), {})


def test_equal_is_what_has_the_same_inside() -> None:
    assert Token(TOKEN) == Token(TOKEN)
    assert Token(TOKEN) != Token(token(2))
    assert Token(TOKEN) != TOKEN
    assert len({Token(TOKEN), Token(TOKEN), Token(token(2))}) == 2
    assert Plaintext("a") == Plaintext("a")
    assert Plaintext("a") != Plaintext(b"a")
    assert len({Plaintext("a"), Plaintext("a"), Plaintext(b"a")}) == 2
    assert hash(Token(TOKEN)) != hash(TOKEN)


def test_what_is_inside_is_there_for_who_asks() -> None:
    assert Token(TOKEN).expose() == TOKEN
    assert Token.of(Token(TOKEN)).expose() == TOKEN
    assert Plaintext(SECRET).reveal() == SECRET
    assert Plaintext("é").reveal_bytes() == "é".encode()
    assert Plaintext(bytearray(b"\x00\xff")).reveal_bytes() == b"\x00\xff"
    assert bool(Plaintext("")) is True
    with pytest.raises(TypeError, match="reveal_bytes"):
        Plaintext(b"a").reveal()


def test_a_print_that_was_stored_is_refused_with_words() -> None:
    client = LunaSec(transport=Function([]).sync())
    with pytest.raises(InvalidToken, match=r"store what token.expose\(\) gives"):
        client.detokenize(str(Token(TOKEN)))
    with pytest.raises(InvalidRequest, match="how a Plaintext prints"):
        client.tokenize(f"card {Plaintext(SECRET)}")
    with pytest.raises(InvalidRequest, match="how a Token prints"):
        client.tokenize("v", metadata={"t": f"{Token(TOKEN)}"})
    with pytest.raises(InvalidRequest, match="metadata is no JSON"):
        client.tokenize("v", metadata={"t": Token(TOKEN)})
    with pytest.raises(InvalidRequest, match="how a Token prints"):
        client.tokenize(str(Token(TOKEN)).encode())
    with pytest.raises(InvalidRequest, match="mask"):
        client.tokenize(" •••• ")
    with pytest.raises(InvalidRequest, match="surrogate"):
        client.tokenize("\ud800")
    with pytest.raises(InvalidToken):
        client.detokenize("lunasec-\ud800")


def _told(error: BaseException) -> str:
    """As error trackers do it: with the locals of every frame of the package."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    told.stack = traceback.StackSummary.from_list([f for f in told.stack if "/lunasec/" in f.filename])
    assert len(told.stack) > 0
    return "".join(told.format()) + "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "response",
    [
        problem("not_found", 404),
        answer({"value": SECRET}),
        answer([SECRET]),
        answer({"value": SECRET, "encoding": "x"}),
    ],
)
def test_tracebacks_with_locals_show_neither_tokens_nor_values(response: Any) -> None:
    client = LunaSec(transport=Function(lambda *_: response).sync()).for_session("somebodys-session", jwt="a.jwt.x")
    for call in (lambda: client.detokenize(TOKEN), lambda: client.tokenize(SECRET, metadata={"a": object()})):
        with pytest.raises(LunaSecError) as caught:
            call()
        told = _told(caught.value)
        for secret in (SECRET, TOKEN, "somebodys-session", "a.jwt.x"):
            assert secret not in told
        assert caught.value.__context__ is None


SESSION, GOOD_JWT = "somebodys-session", "a.jwt.x"
JWT = GOOD_JWT + "\n"
LOST = f"{Token(TOKEN)} {SECRET}"
NUMBER = 4111111111111111
SAID: list[Callable[[Any], Any]] = [
    lambda client: client.for_session(SESSION, jwt=JWT),
    lambda client: client.for_session(SESSION + " "),
    lambda client: client.tokenize(NUMBER),
    lambda client: client.tokenize(SECRET, nonsense=1),
    lambda client: client.tokenize(SECRET, expires_in=1),
    lambda client: client.tokenize(SECRET + "\ud800"),
    lambda client: client.tokenize_batch([SECRET, NUMBER]),
    lambda client: client.tokenize_batch(SECRET),
    lambda client: client.detokenize(TOKEN.encode()),
    lambda client: client.detokenize(LOST),
    lambda client: client.detokenize_batch([TOKEN, None]),
    lambda client: client.detokenize_batch(TOKEN),
    lambda client: client.get_metadata(TOKEN.encode()),
    lambda client: client.set_metadata(TOKEN.encode(), {}),
    lambda client: client.delete([TOKEN, None]),
    lambda client: client.for_session(SESSION).grant([TOKEN, None]),
    lambda client: client.for_session(SESSION).grant([TOKEN], actions=1),
    lambda client: client.for_session(SESSION).verify(TOKEN),
    lambda client: client.for_session(SESSION).revoke([TOKEN, None]),
]


def _shows_nothing(error: BaseException) -> None:
    told = _told(error)
    for secret in (SECRET, TOKEN, SESSION, GOOD_JWT, str(NUMBER)):
        assert secret not in told
    assert error.__context__ is None


@pytest.mark.parametrize("call", SAID)
def test_tracebacks_of_what_is_said_wrongly_show_it_neither(call: Callable[[Any], Any]) -> None:
    transport = Function([])

    with pytest.raises((LunaSecError, TypeError)) as caught:
        call(LunaSec(transport=transport.sync()))
    _shows_nothing(caught.value)

    async def awaited() -> Any:
        client = AsyncLunaSec(transport=transport.aio())
        return await call(client)

    with pytest.raises((LunaSecError, TypeError, AttributeError)) as caught:
        asyncio.run(awaited())
    if not isinstance(caught.value, AttributeError):
        _shows_nothing(caught.value)
    assert transport.asked == []


def test_tracebacks_of_clients_and_of_what_is_made_of_text_show_nothing_either() -> None:
    gathering = LunaSec(transport=Function([]).sync(), pending_calls=0).for_session(SESSION)

    def gathered() -> None:
        with gathering.gather() as page:
            page.detokenize(TOKEN)

    ways: list[Callable[[], Any]] = [
        lambda: LunaSec(jwt=JWT),
        lambda: AsyncLunaSec(jwt=JWT),
        lambda: LunaSec(jwt=GOOD_JWT, connections=0),
        lambda: LunaSec(jwt=GOOD_JWT).with_options(namespace=" "),
        lambda: Token(LOST),
        lambda: Token.of(TOKEN.encode()),  # type: ignore[arg-type]
        lambda: Plaintext.of(NUMBER),  # type: ignore[arg-type]
        lambda: Plaintext(SECRET.encode()).reveal(),
        lambda: Item(NUMBER),  # type: ignore[arg-type]
        lambda: TokenType().process_bind_param(SECRET, None),  # type: ignore[arg-type]
        lambda: TokenType().process_result_value(SECRET, None),  # type: ignore[arg-type]
        lambda: Shown({}).text(TOKEN),
        lambda: gathering.gather().tokenize(NUMBER),  # type: ignore[arg-type]
        gathered,
    ]
    for way in ways:
        with pytest.raises((LunaSecError, TypeError, KeyError)) as caught:
            way()
        _shows_nothing(caught.value)


def test_tracebacks_of_models_and_requests_show_nothing_either() -> None:
    class Customer(Model):
        name: TokenizedField

    away = Function(lambda *_: problem("storage_unavailable", 503))
    with pytest.raises(LunaSecError) as caught:
        validate(Customer, {"name": SECRET}, LunaSec(transport=away.sync(), retry=Retry(attempts=1)))
    _shows_nothing(caught.value)
    with pytest.raises(ValidationError) as wrong:
        validate(Customer, [SECRET], LunaSec(transport=away.sync()))
    _shows_nothing(wrong.value)
    client = AsyncLunaSec(transport=away.aio())
    scope = {"type": "http", "headers": []}
    for call in SAID[2:15]:
        request = RequestLunaSec(client, lambda _: (SESSION, JWT), HTTPConnection(scope))
        with pytest.raises((LunaSecError, TypeError)) as caught:
            asyncio.run(call(request))
        _shows_nothing(caught.value)


def test_logs_of_every_level_show_nothing(caplog: pytest.LogCaptureFixture, sidecar: Sidecar) -> None:
    caplog.set_level(1)
    for name in ("httpx", "httpcore", "asyncio"):
        caplog.set_level(1, logger=name)

    async def use() -> str:
        async with AsyncLunaSec(socket=sidecar.socket) as lunasec:
            user = lunasec.for_session("somebodys-session")
            made = (await user.tokenize(SECRET)).token
            await user.grant([made])
            assert (await user.detokenize(made)).value.reveal() == SECRET
            with LunaSec(socket=sidecar.socket) as threads:
                assert threads.for_session("somebodys-session").detokenize(made).value.reveal() == SECRET
            return made.expose()

    made = asyncio.run(use(), debug=True)
    assert "httpcore" in caplog.text
    for secret in (SECRET, made, "somebodys-session"):
        assert secret not in caplog.text


def test_errors_are_handed_to_other_processes() -> None:
    error = NotFound("words", status=404, request_id="r1", retry_after=2.0)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.code, again.detail, again.status) == (NotFound, "not_found", "words", 404)
    assert (again.request_id, again.retry_after, str(again)) == ("r1", 2.0, "not_found: words")


@pytest.mark.parametrize("said", [b"%s is no HTTP\r\n\r\n", b"H%s\r\n\r\n", b"HTTP/%s\r\n\r\n"])
def test_logs_of_every_level_do_not_quote_what_is_no_http(caplog: pytest.LogCaptureFixture, said: bytes) -> None:
    caplog.set_level(1)
    caplog.set_level(1, logger="httpcore")

    def echo(connection: socket.socket) -> None:
        while read_request(connection):
            connection.sendall(said % SECRET.encode())

    async def use() -> None:
        async with AsyncLunaSec(socket=server.socket) as lunasec:
            with pytest.raises(ProtocolError, match="not HTTP"):
                await lunasec.tokenize(SECRET)

    with Server(echo) as server:
        with pytest.raises(ProtocolError, match="not HTTP"):
            LunaSec(socket=server.socket).tokenize(SECRET)
        asyncio.run(use())
    assert "httpcore" in caplog.text
    assert SECRET not in caplog.text
