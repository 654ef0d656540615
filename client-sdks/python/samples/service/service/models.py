"""What comes in and goes out, and what becomes of its fields."""

from __future__ import annotations

from typing import Annotated

from lunasec import Token
from lunasec.pydantic import Model, Rule

Secret = Annotated[Token, Rule(tokenize=True)]
Shown = Annotated[Token, Rule(detokenize=True)]


class NewCustomer(Model):
    name: Secret
    phone: Secret
    card: Annotated[Token, Rule(tokenize=True, metadata={"kind": "card"})]


class Listed(Model):
    id: int
    name: Shown


class Customer(Model):
    id: int
    name: Shown
    phone: Shown
    # The agent pays with it, and never sees it.
    card: Annotated[Token, Rule(grant="5m")]


class NewOrder(Model):
    card: Annotated[Token, Rule(verify=True)]
    article: str


class Order(Model):
    id: int
    article: str


class LogIn(Model):
    agent: str
