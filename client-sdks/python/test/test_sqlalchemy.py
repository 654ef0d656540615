from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import (
    ForeignKey,
    String,
    bindparam,
    cast,
    create_engine,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload

from lunasec import AsyncLunaSec, LunaSec, NotFound, StorageUnavailable, Token
from lunasec.sqlalchemy import NotAToken, TokenType, areveal, only_tokens, reveal, tokens_in
from postgres import Postgres
from sidecar import Sidecar
from toy import token
from vault import Vault

pytestmark = pytest.mark.anyio


class Base(DeclarativeBase):
    type_annotation_map = {Token: TokenType}


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[Token]
    phone: Mapped[Token | None] = mapped_column(TokenType, default=None)
    cards: Mapped[list[Card]] = relationship(back_populates="customer", order_by="Card.id")


class Card(Base):
    __tablename__ = "cards"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[Token] = mapped_column(TokenType, unique=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    customer: Mapped[Customer] = relationship(back_populates="cards")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    running = Postgres()
    yield running
    running.end()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/db"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.url("psycopg")


@pytest.fixture
def session(url: str) -> Iterator[Session]:
    engine = create_engine(url)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


def filled(session: Session, vault: Vault, customers: int) -> None:
    for n in range(customers):
        cards = [Card(number=Token(vault.put(f"card {n}.{m}"))) for m in range(2)]
        session.add(Customer(id=n, name=Token(vault.put(f"name {n}")), cards=cards))
    session.commit()
    session.expunge_all()


def test_the_database_holds_text_and_the_application_tokens(session: Session) -> None:
    session.add(Customer(id=1, name=Token(token(1))))
    session.execute(insert(Customer).values(id=2, name=token(2), phone=Token(token(3))))
    session.commit()
    raw = session.execute(text("select name, phone from customers order by id")).all()
    assert [tuple(row) for row in raw] == [(token(1), None), (token(2), token(3))]
    found = session.scalars(select(Customer).order_by(Customer.id)).all()
    assert [(each.name, each.phone) for each in found] == [(Token(token(1)), None), (Token(token(2)), Token(token(3)))]
    assert session.scalar(select(Customer.id).where(Customer.name == Token(token(2)))) == 2
    assert session.scalar(select(Customer.id).where(Customer.name.in_([Token(token(1)), token(9)]))) == 1
    inline = select(Customer.id).where(Customer.name == literal(Token(token(1)), TokenType))
    assert session.scalar(text(str(inline.compile(session.get_bind(), compile_kwargs={"literal_binds": True})))) == 1
    assert "lunasec-0" not in repr(session.execute(select(Customer.name)).all())


@pytest.mark.parametrize("bad", ["4111 1111 1111 1111", str(Token(token(1))), b"4111", 4111, f"{token(1)}' or 1=1 --"])
def test_no_value_is_stored_in_a_tokens_place(session: Session, bad: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    session.add(Customer(id=1, name=bad))
    with pytest.raises(NotAToken) as caught:
        session.commit()
    assert "4111" not in str(caught.value)
    session.rollback()
    with pytest.raises(NotAToken):
        session.scalar(select(Customer.id).where(Customer.name == bad))
    assert session.scalars(select(Customer)).all() == []


def test_what_is_no_token_in_the_database_is_not_handed_out(session: Session) -> None:
    session.execute(text("insert into customers (id, name) values (1, '4111 1111')"))
    with pytest.raises(NotAToken) as caught:
        session.scalars(select(Customer)).all()
    assert "4111" not in "".join(traceback.format_exception(caught.value))


def test_a_result_set_is_revealed_in_one_request(session: Session) -> None:
    vault = Vault()
    filled(session, vault, 30)
    lunasec = LunaSec(transport=vault.sync())
    customers = session.scalars(select(Customer).options(selectinload(Customer.cards)).order_by(Customer.id)).all()
    shown = reveal(customers, lunasec)
    assert vault.paths() == ["/v1/detokenize:batch"]
    assert [shown.text(each.name) for each in customers] == [f"name {n}" for n in range(30)]
    assert [shown.text(card.number) for card in customers[7].cards] == ["card 7.0", "card 7.1"]
    assert shown.text(customers[0].phone, absent="none") == "none"
    assert "name" not in repr(shown)
    rows = session.execute(select(Customer.id, Customer.name, Card.number).join(Card)).all()
    shown = reveal(rows, lunasec)
    assert {shown.text(row.number) for row in rows} == {f"card {n}.{m}" for n in range(30) for m in range(2)}


def test_nothing_is_loaded_for_it(session: Session) -> None:
    vault = Vault()
    filled(session, vault, 3)
    customers = session.scalars(select(Customer)).all()
    assert len(tokens_in(customers)) == 3
    assert all("cards" not in vars(each) for each in customers)


def test_more_than_a_thousand_are_a_request_for_each_thousand(session: Session) -> None:
    vault = Vault()
    filled(session, vault, 800)
    rows = session.execute(select(Customer.name, Card.number).join(Card)).all()
    shown = reveal(rows, LunaSec(transport=vault.sync()))
    assert len(shown) == 2_400
    assert [len(body["tokens"]) for _, body in vault.asked] == [1_000, 1_000, 400]


def test_what_failed_by_itself_is_said_where_it_is_asked_for(session: Session) -> None:
    vault = Vault()
    filled(session, vault, 2)
    session.add(Customer(id=9, name=Token(token(999))))
    session.commit()
    customers = session.scalars(select(Customer).order_by(Customer.id)).all()
    shown = reveal(customers, LunaSec(transport=vault.sync()))
    assert shown.text(customers[0].name) == "name 0"
    assert list(shown.failed()) == [Token(token(999))]
    with pytest.raises(NotFound):
        shown[customers[2].name]
    assert reveal([], LunaSec(transport=vault.sync())) == {}


def test_in_an_outage_a_result_set_is_masked_or_raises(session: Session) -> None:
    vault = Vault()
    filled(session, vault, 2)
    vault.away = "storage_unavailable"
    customers = session.scalars(select(Customer)).all()
    with pytest.raises(StorageUnavailable):
        reveal(customers, LunaSec(transport=vault.sync()))
    shown = reveal(customers, LunaSec(transport=vault.sync()), on_unavailable="mask")
    assert [shown.text(each.name) for each in customers] == ["••••"] * 2


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_engines_of_asyncio_against_a_real_sidecar(
    database: str, sidecar: Sidecar, tmp_path: Any, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/db"
    if database == "postgresql":
        url = request.getfixturevalue("postgres").url("asyncpg")
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncLunaSec(socket=sidecar.socket) as lunasec, AsyncSession(engine) as session:
        made = await lunasec.tokenize_batch([f"name {n}" for n in range(100)])
        session.add_all(Customer(id=n, name=each.token) for n, each in enumerate(made) if each.kind == "tokenized")
        await session.commit()
        customers = (await session.scalars(select(Customer).order_by(Customer.id))).all()
        shown = await areveal(customers, lunasec)
        assert [shown.text(each.name) for each in customers] == [f"name {n}" for n in range(100)]
        streamed = await session.stream(select(Customer.name).order_by(Customer.id))
        async for page in streamed.partitions(30):
            assert len(await areveal(page, lunasec)) == len(page)
    await engine.dispose()


class Guarded(Base):
    __tablename__ = "guarded"
    __table_args__ = (only_tokens("name", "guarded_name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[Token | None]
    note: Mapped[str | None]


def test_the_database_refuses_what_no_type_sees(session: Session) -> None:
    value = "4111 1111"
    session.add(Guarded(id=1, name=Token(token(1)), note=value))
    session.add(Guarded(id=2, name=None))
    session.commit()
    for statement in (
        insert(Guarded).values(id=3, name=func.lower(value)),
        insert(Guarded).values(id=3, name=cast(value, String)),
        insert(Guarded).values(id=3, name=bindparam("n", value, type_=String)),
        insert(Guarded).from_select(["id", "name"], select(literal(3), literal(value))),
        update(Guarded).values(name=Guarded.note),
        update(Guarded).values(name=func.concat(token(2), value)),
        text(f"insert into guarded (id, name) values (3, '{value}')"),
    ):
        with pytest.raises(DBAPIError):
            session.execute(statement)
        session.rollback()
    assert session.scalars(select(Guarded.name).order_by(Guarded.id)).all() == [Token(token(1)), None]


class Keyed(Base):
    __tablename__ = "keyed"
    card: Mapped[Token] = mapped_column(TokenType, primary_key=True)
    note: Mapped[str]


def test_a_token_may_be_a_primary_key(session: Session) -> None:
    session.add_all([Keyed(card=Token(token(n)), note="n") for n in (3, 1, 2)])
    session.commit()
    found = session.scalars(select(Keyed)).all()
    for each in found:
        each.note = "changed"
    session.commit()
    for each in found:
        session.delete(each)
    session.commit()
    assert session.scalars(select(Keyed)).all() == []


def test_bytes_are_shown_among_texts(session: Session) -> None:
    vault = Vault()
    lunasec = LunaSec(transport=vault.sync())
    session.add_all([Customer(id=n, name=lunasec.tokenize(each).token) for n, each in enumerate(["Alice", b"\xff"])])
    session.commit()
    customers = session.scalars(select(Customer).order_by(Customer.id)).all()
    shown = reveal(customers, lunasec)
    assert [shown.text(each.name) for each in customers] == ["Alice", "/w=="]
