from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Union
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, ValidationError, create_model

from lunasec import (
    AsyncLunaSec,
    GrantDenied,
    InvalidRequest,
    LunaSec,
    Plaintext,
    StorageUnavailable,
    Token,
    Unauthenticated,
)
from lunasec.pydantic import EXPOSE, Model, Rule, areveal, avalidate, reveal, validate
from sidecar import Sidecar
from toy import token
from vault import Vault

pytestmark = pytest.mark.anyio


class Address(Model):
    street: Annotated[Token, Rule(tokenize=True, detokenize=True)]


class Customer(Model):
    name: Annotated[Token, Rule(tokenize=True, detokenize=True, metadata={"kind": "name"})]
    card: Annotated[Token, Rule(tokenize=True, verify=True, grant="15m")]
    addresses: list[Address] = []
    referrer: Token | None = None
    paid_with: Annotated[Token | None, "verified"] = None


class Order(Model):
    card: Annotated[Token, Rule(verify=True)]


CUSTOMER = {"name": "Alice", "card": "4111", "addresses": [{"street": "1 Main St"}, {"street": "2 Main St"}]}


def test_a_model_holds_tokens_and_its_values_are_one_request() -> None:
    vault = Vault()
    user = LunaSec(transport=vault.sync()).for_session("alice")
    customer = validate(Customer, CUSTOMER, user)
    assert vault.paths() == ["/v1/tokenize:batch", "/v1/grants/create"]
    assert vault.values[customer.name.expose()]["value"] == "Alice"
    assert vault.values[customer.addresses[1].street.expose()]["value"] == "2 Main St"
    assert vault.asked[0][1]["items"][0]["metadata"] == {"kind": "name"}
    assert vault.granted == {("alice", customer.card.expose())}
    assert reveal(customer, user) == {
        "name": "Alice",
        "card": customer.card.expose(),
        "addresses": [{"street": "1 Main St"}, {"street": "2 Main St"}],
        "referrer": None,
        "paid_with": None,
    }


def test_what_a_model_holds_prints_redacted_until_it_is_asked() -> None:
    vault = Vault()
    customer = validate(Customer, CUSTOMER, LunaSec(transport=vault.sync()).for_session("alice"))
    said = repr(customer) + customer.model_dump_json() + repr(customer.model_dump()) + str(customer)
    assert "lunasec-0" not in said
    assert "Alice" not in said
    assert json.loads(customer.model_dump_json(context=EXPOSE))["name"] == customer.name.expose()
    assert customer.model_dump(context=EXPOSE)["card"] == customer.card.expose()
    assert customer.model_dump()["card"] == customer.card
    again = Customer.model_validate(customer.model_dump())
    assert again == customer


def test_a_field_of_type_token_takes_tokens_and_nothing_else() -> None:
    lunasec = LunaSec(transport=Vault().sync()).for_session("s")
    good = validate(Customer, {**CUSTOMER, "referrer": token(7)}, lunasec)
    assert good.referrer == Token(token(7))
    for bad in ("4111 1111 1111 1111", "lunasec-1", 4111, str(Token(token(1)))):
        with pytest.raises(ValidationError) as caught:
            validate(Customer, {**CUSTOMER, "referrer": bad}, lunasec)
        assert "4111" not in str(caught.value)
        assert "4111" not in json.dumps(caught.value.errors())


def test_mistakes_in_other_fields_quote_no_value() -> None:
    vault = Vault()
    for data in ({"name": "Alice"}, {**CUSTOMER, "addresses": "secret street"}, ["Alice"]):
        with pytest.raises(ValidationError) as caught:
            validate(Customer, data, LunaSec(transport=vault.sync()))
        assert caught.value.__context__ is None or "Alice" not in str(caught.value.__context__)
        for text in (str(caught.value), repr(caught.value), json.dumps(caught.value.errors())):
            assert "Alice" not in text
            assert "secret" not in text
    assert vault.asked == []
    with pytest.raises(ValidationError) as caught:
        Customer.model_validate({"name": "Alice"})
    assert "Alice" not in str(caught.value)
    assert "lunasec.pydantic.validate()" in str(caught.value)


@pytest.mark.parametrize(
    "bad", [token(1), f" {token(1).upper()}", token(1).replace("-", ""), "••••", str(Plaintext("v"))]
)
def test_what_is_shown_or_kept_instead_of_a_value_is_refused_as_one(bad: str) -> None:
    vault = Vault()
    with pytest.raises(InvalidRequest) as caught:
        validate(Customer, {**CUSTOMER, "name": bad}, LunaSec(transport=vault.sync()).for_session("s"))
    assert vault.asked == []
    assert token(1) not in str(caught.value)


def test_a_token_comes_back_only_from_who_was_granted_it() -> None:
    vault = Vault()
    lunasec = LunaSec(transport=vault.sync())
    alice = lunasec.for_session("alice")
    card = validate(Customer, CUSTOMER, alice).card
    again = validate(Customer, {**CUSTOMER, "card": card.expose()}, alice)
    assert again.card == card
    assert validate(Order, {"card": card.expose()}, alice).card == card
    for stranger in (lunasec.for_session("bob"), lunasec.for_session("alice2")):
        with pytest.raises(GrantDenied):
            validate(Order, {"card": card.expose()}, stranger)
    with pytest.raises(GrantDenied):
        validate(Order, {"card": token(999)}, alice)
    with pytest.raises(Unauthenticated):
        validate(Order, {"card": card.expose()}, lunasec)
    with pytest.raises(ValidationError):
        validate(Order, {"card": "4111"}, alice)


def test_in_an_outage_there_is_no_model_and_reads_may_be_masked() -> None:
    vault = Vault()
    user = LunaSec(transport=vault.sync()).for_session("alice")
    customer = validate(Customer, CUSTOMER, user)
    vault.away = "storage_unavailable"
    with pytest.raises(StorageUnavailable):
        validate(Customer, CUSTOMER, user)

    class Shown(Model):
        name: Annotated[Token, Rule(detokenize=True)]

    with pytest.raises(StorageUnavailable):
        reveal(Shown(name=customer.name), user)
    assert reveal(Shown(name=customer.name), user, on_unavailable="mask") == {"name": "••••"}


def test_its_json_schema_says_what_goes_in() -> None:
    schema = Customer.model_json_schema()["properties"]
    assert schema["name"]["type"] == "string"
    assert "pattern" not in schema["name"]
    assert schema["referrer"]["anyOf"][0]["format"] == "lunasec-token"


def test_mistakes_in_rules_are_said_where_they_are_made() -> None:
    for bad in ({"grant": 15}, {"tokenize": "yes"}, {"expires_in": "1h"}):
        with pytest.raises(InvalidRequest):
            Rule(**bad)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Token"):

        class _Wrong(BaseModel):
            name: Annotated[str, Rule(tokenize=True)]


async def test_all_of_it_is_awaited_too(sidecar: Sidecar) -> None:
    async with AsyncLunaSec(socket=sidecar.socket) as lunasec:
        user = lunasec.for_session("alice")
        customer = await avalidate(Customer, CUSTOMER, user)
        assert (await areveal(customer, user))["name"] == "Alice"
        with pytest.raises(GrantDenied):
            await avalidate(Order, {"card": customer.card.expose()}, lunasec.for_session("mallory"))
        with pytest.raises(Unauthenticated):
            await areveal(customer, lunasec)
        many = await avalidate(Model_of_many, {"all": [f"value {n}" for n in range(2_500)]}, lunasec)
        assert (await areveal(many, lunasec))["all"] == [f"value {n}" for n in range(2_500)]


class Model_of_many(Model):
    all: list[Annotated[Token, Rule(tokenize=True, detokenize=True)]]


def test_a_model_that_was_not_validated_so_has_no_tokens() -> None:
    from lunasec._hiding import Held
    from lunasec.pydantic import collect

    model: Any
    model, _ = collect(Address, Held({"street": "1 Main St"}))
    with pytest.raises(RuntimeError, match="was not tokenized"):
        model.street.expose()
    assert "Main" not in repr(model)


def test_a_field_of_tokens_takes_no_value_later() -> None:
    user = LunaSec(transport=Vault().sync()).for_session("alice")
    customer = validate(Customer, CUSTOMER, user)
    for field, bad in (("name", "4111 clear"), ("referrer", "4111 clear"), ("card", token(1)), ("addresses", ["4111"])):
        with pytest.raises(ValidationError) as caught:
            setattr(customer, field, bad)
        assert "4111" not in str(caught.value) + json.dumps(caught.value.errors())
    customer.name = customer.referrer = Token(token(7))
    customer.addresses = [*customer.addresses, Address(street=Token(token(8)))]
    customer.referrer = None
    assert "4111" not in repr(customer) + customer.model_dump_json()
    assert customer.name == Token(token(7))


class Card(Model):
    kind: Literal["card"]
    number: Annotated[Token, Rule(tokenize=True)]


class Iban(Model):
    kind: Literal["iban"]
    number: Annotated[Token, Rule(tokenize=True)]


class Payment(Model):
    pay: Annotated[Union[Card, Iban], Field(discriminator="kind")]
    prices: dict[str, int] = {}
    id: Union[UUID, None] = None


def test_mistakes_quote_neither_a_unions_tag_nor_a_maps_key() -> None:
    lunasec = LunaSec(transport=Vault().sync())
    good = {"kind": "card", "number": "4111"}
    for data in (
        {"pay": {"kind": "4111 1111", "number": "card"}},
        {"pay": good, "prices": {"4111 1111": "x"}},
        {"pay": good, "id": "4111 1111"},
    ):
        with pytest.raises(ValidationError) as caught:
            validate(Payment, data, lunasec)
        said = str(caught.value) + json.dumps(caught.value.errors())
        assert "4111" not in said
        assert "found" not in said
        assert caught.value.errors()[0]["loc"][0] in data


class Frozen(Model, frozen=True):
    card: Annotated[Token, Rule(verify=True)]


def test_what_needs_a_hash_of_a_value_is_refused_when_it_is_declared() -> None:
    ruled = Annotated[Token, Rule(tokenize=True)]
    for kind in (set[ruled], frozenset[Frozen], dict[ruled, int], list[dict[Union[ruled, None], int]]):  # type: ignore[valid-type]
        with pytest.raises(TypeError, match="take a list"):
            create_model("Bad", __base__=Model, all=(kind, ...))
        with pytest.raises(TypeError, match="take a list"):
            validate(create_model("Bad", all=(kind, ...)), {}, LunaSec(transport=Vault().sync()))
    create_model("Good", __base__=Model, all=(dict[str, list[ruled]], ...), tokens=(set[Token], ...))
