"""Each operation of the contract as one call of a client: what is called, and with what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .words import Json, common, defined, item, keyed, reading, speaker

# The bound method and its arguments: a coroutine function's for the one client, a function's for the other.
Bound = tuple[Callable[..., Any], tuple[Any, ...], Json]


def _tokenize(client: Any, given: Json, options: Json) -> Bound:
    one = item(given)
    more = defined(metadata=one.metadata, expires_in=one.expires_in, encoding=one.encoding)
    return speaker(client, options).tokenize, (one.value,), {**more, **keyed(options)}


def _tokenize_batch(client: Any, given: Json, options: Json) -> Bound:
    return speaker(client, options).tokenize_batch, ([item(each) for each in given["items"]],), keyed(options)


def _detokenize(client: Any, given: Json, options: Json) -> Bound:
    return speaker(client, options).detokenize, (given["token"],), reading(options)


def _detokenize_batch(client: Any, given: Json, options: Json) -> Bound:
    return speaker(client, options).detokenize_batch, (given["tokens"],), reading(options)


def _metadata_get(client: Any, given: Json, options: Json) -> Bound:
    return speaker(client, options).get_metadata, (given["token"],), common(options)


def _metadata_set(client: Any, given: Json, options: Json) -> Bound:
    more = defined(if_version=given.get("if_version"))
    return speaker(client, options).set_metadata, (given["token"], given["metadata"]), {**common(options), **more}


def _grants_create(client: Any, given: Json, options: Json) -> Bound:
    more = defined(expires_in=given.get("expires_in"), actions=given.get("actions"))
    return client.for_session(given["session"]).grant, (given["tokens"],), {**common(options), **more}


def _grants_verify(client: Any, given: Json, options: Json) -> Bound:
    more = defined(action=given.get("action"))
    return client.for_session(given["session"]).verify, (given["tokens"],), {**common(options), **more}


def _grants_revoke(client: Any, given: Json, options: Json) -> Bound:
    user = client.for_session(given["session"])
    if "tokens" in given:
        return user.revoke, (given["tokens"],), common(options)
    return user.revoke_all, (), common(options)


def _delete(client: Any, given: Json, options: Json) -> Bound:
    return speaker(client, options).delete, (given["tokens"],), common(options)


def _status(client: Any, given: Json, options: Json) -> Bound:
    return client.status, (), common(options)


CALLS: dict[str, Callable[[Any, Json, Json], Bound]] = {
    "tokenize": _tokenize,
    "tokenize_batch": _tokenize_batch,
    "detokenize": _detokenize,
    "detokenize_batch": _detokenize_batch,
    "metadata_get": _metadata_get,
    "metadata_set": _metadata_set,
    "grants_create": _grants_create,
    "grants_verify": _grants_verify,
    "grants_revoke": _grants_revoke,
    "delete": _delete,
    "status": _status,
}
