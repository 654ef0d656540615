"""One request that carries the items of several callers, tried again as far as that helps.

It does no I/O: it yields what is to be sent and how long is to be waited, so that threads, asyncio and trio fly the same
one. Each caller gets what its own items came to, as soon as that is known, and none can fail another: what the sidecar
refuses as a whole is sent again in halves, until it is known whose fault it was."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, Union

from ._context import Context
from ._limits import SEARCHES
from ._operation import Got, Operation, Outcome, Route, Unit, found_no_room, route_of
from ._retry import Patience, Retries, may_help
from ._telemetry import Span, Telemetry
from ._transport import Answer, Headers, Wanted
from .errors import InvalidRequest, LunaSecError, PayloadTooLarge

T = TypeVar("T")


class Waiting(Protocol[T]):
    """One caller who waits: it ends with its result, its deadline or its own giving up, whichever is first."""

    #: What went wrong so far: a better answer than that the time is over.
    trouble: LunaSecError | None

    @property
    def over(self) -> bool: ...
    @property
    def until(self) -> float: ...
    def resolve(self, outcomes: list[Outcome[T]]) -> None: ...
    def reject(self, error: LunaSecError) -> None: ...

    def fail(self, error: Exception) -> None: ...


class Entry(Generic[T]):
    """One caller's items of a list, and the caller."""

    __slots__ = ("call", "trace", "units")

    def __init__(self, units: Sequence[Unit], call: Waiting[T], trace: object = None) -> None:
        self.units = units
        self.call = call
        self.trace = trace


class Common(NamedTuple):
    """What all entries of a flight have in common."""

    operation: Operation[Any]
    context: Context
    attempts: int
    #: The caller asked for the batch route, also for a single item.
    as_batch: bool = False
    idempotency_key: bytes | None = None

    def __repr__(self) -> str:
        # It knows a session and a JWT.
        return f"Common({self.operation.name})"


class Send(NamedTuple):
    """To be sent. What comes back is the answer, or why there is none."""

    wanted: Wanted


class Pause(NamedTuple):
    """To be waited for."""

    seconds: float


Steps = Generator[Union[Send, Pause], Union[Answer, LunaSecError, None], None]


class Seat(Generic[T]):
    __slots__ = ("entry", "outcome", "unit")

    def __init__(self, entry: Entry[T], unit: Unit) -> None:
        self.entry = entry
        self.unit = unit
        self.outcome: Outcome[T] | None = None


class Searches:
    """How many more requests may be made to find out whose fault a refusal of the whole was."""

    def __init__(self) -> None:
        self.left = SEARCHES


class Flight(Generic[T]):
    def __init__(
        self,
        patience: Patience,
        telemetry: Telemetry,
        common: Common,
        entries: Sequence[Entry[T]],
        launch: Callable[[Flight[T]], None],
        searches: Searches | None = None,
    ) -> None:
        self._patience = patience
        self._telemetry = telemetry
        self._common = common
        self._operation: Operation[T] = common.operation
        self.entries = list(entries)
        self._seats = [Seat(entry, unit) for entry in entries for unit in entry.units]
        #: Flies what comes out of this one.
        self._launch = launch
        self._searches = searches or Searches()
        self._known: list[tuple[Entry[T], list[Outcome[T]]]] = []

    @property
    def deserted(self) -> bool:
        """Whether nobody waits any more."""
        return all(entry.call.over for entry in self.entries)

    def until(self) -> float:
        """When the last who waits is gone."""
        return max((entry.call.until for entry in self.entries if not entry.call.over), default=0.0)

    def steps(self) -> Steps:
        """Ends when every caller has been answered."""
        span = self._telemetry.start(self._operation.name, len(self._seats), [e.trace for e in self.entries])
        code = "aborted"
        try:
            error = yield from self._attempts(span)
            code = "ok" if error is None else error.code
        finally:
            span.end(code)

    def _attempts(self, span: Span) -> Generator[Send | Pause, Answer | LunaSecError | None, LunaSecError | None]:
        retries = Retries(self._patience, self._common.attempts, self._operation.repeatable)
        headers: Headers | None = None
        while not self.deserted:
            units = self._units_of(self._to_send())
            route = self._route(units)
            if headers is None:
                headers = self._headers(span)
            error = self._landed(route, units, (yield Send(self._wanted(route, headers))))
            if error is None:
                retries.succeeded()
                self._tell()
                return None
            pause = None if self.deserted else retries.after(error)
            if pause is None or self._patience.runtime.now() + pause >= self.until():
                self._failed(error)
                return error
            span.retried()
            for entry in self.entries:
                entry.call.trouble = error
            yield Pause(pause)
        return None

    def _wanted(self, route: Route[T], headers: Headers) -> Wanted:
        return Wanted("GET" if self._operation.name == "status" else "POST", route.path, headers, route.body)

    def _headers(self, span: Span) -> Headers:
        common = self._common
        headers = list(common.context)
        if self._operation.name != "status":
            headers.append((b"content-type", b"application/json"))
        if common.idempotency_key is not None:
            headers.append((b"idempotency-key", common.idempotency_key))
        elif self._operation.keyed:
            headers.append((b"idempotency-key", self._patience.runtime.key().encode()))
        span.propagate(headers)
        return headers

    def _to_send(self) -> list[Seat[T]]:
        """All items where an item is known by its place, else those that came to nothing yet."""
        open_ = [seat for seat in self._seats if not seat.entry.call.over and not final(seat.outcome)]
        return self._seats if self._operation.keyed and open_ else open_

    def _units_of(self, seats: Sequence[Seat[T]]) -> list[tuple[Unit, list[Seat[T]]]]:
        """What is sent, and whose it is: a token that several callers asked for is asked for once."""
        units: list[tuple[Unit, list[Seat[T]]]] = []
        first: dict[bytes, list[Seat[T]]] = {}
        for seat in seats:
            shared = shared_unit(self._common, seat.entry) is not None
            same = first.get(seat.unit.json) if shared else None
            if same is not None:
                same.append(seat)
                continue
            alone = [seat]
            units.append((seat.unit, alone))
            if shared:
                first[seat.unit.json] = alone
        return units

    def _route(self, units: Sequence[tuple[Unit, list[Seat[T]]]]) -> Route[T]:
        # Of a request that is sent again, what is left may be one item: it stays a batch.
        single = len(units) == 1 and (len(self._seats) == 1 or len(self._units_of(self._seats)) == 1)
        return route_of(self._operation, [unit for unit, _ in units], single and not self._common.as_batch)

    def _landed(
        self,
        route: Route[T],
        units: Sequence[tuple[Unit, list[Seat[T]]]],
        answer: Answer | LunaSecError | None,
    ) -> LunaSecError | None:
        """Notes what came. What is wrong, where something is."""
        if isinstance(answer, LunaSecError):
            return answer
        assert answer is not None
        outcomes = route.read(answer)
        if isinstance(outcomes, LunaSecError):
            return outcomes
        for (_, seats), outcome in zip(units, outcomes):
            for seat in seats:
                if not final(seat.outcome):
                    seat.outcome = outcome
        return self._settle()

    def _settle(self) -> LunaSecError | None:
        """Answers whoever can be answered; gives what is wrong with the others."""
        trouble: LunaSecError | None = None
        crowded: list[Entry[T]] = []
        for entry, outcomes in self._by_entry():
            open_ = next((each for each in outcomes if not final(each)), None)
            if isinstance(open_, LunaSecError):
                trouble = trouble or open_
            elif self._is_crowded(outcomes):
                crowded.append(entry)
            else:
                self._known.append((entry, outcomes))
        self._make_room(crowded)
        if trouble is not None:
            self._tell()
        return trouble

    def _tell(self) -> None:
        """Those who are known all about."""
        known, self._known = self._known, []
        for entry, outcomes in known:
            entry.call.resolve(outcomes)

    def _make_room(self, crowded: Sequence[Entry[T]]) -> None:
        """Who found no room goes again, with fewer."""
        if not crowded:
            return
        alone = len(crowded) == len(self.entries)
        gone = {id(entry) for entry in crowded}
        self.entries = [entry for entry in self.entries if id(entry) not in gone]
        self._seats = [seat for seat in self._seats if id(seat.entry) not in gone]
        for group in [[entry] for entry in crowded] if alone else [crowded]:
            self._anew(group, Searches())

    def _is_crowded(self, outcomes: Sequence[Outcome[T]]) -> bool:
        """Whether an item of a caller found no room only because of the items of others."""
        return len(self.entries) > 1 and any(found_no_room(self._operation, each) for each in outcomes)

    def _by_entry(self) -> list[tuple[Entry[T], list[Outcome[T]]]]:
        found: dict[int, tuple[Entry[T], list[Outcome[T]]]] = {}
        for seat in self._seats:
            if seat.outcome is not None and not seat.entry.call.over:
                found.setdefault(id(seat.entry), (seat.entry, []))[1].append(seat.outcome)
        return list(found.values())

    def _failed(self, error: LunaSecError) -> None:
        """The last word: what items came to counts; a refusal of the whole is sought in each half."""
        waiting = [entry for entry in self.entries if not entry.call.over]
        known = {id(entry): outcomes for entry, outcomes in self._by_entry()}
        if refuses_whole(error) and len(waiting) > 1 and not known and self._searches.left > 1:
            self._searches.left -= 2
            half = (len(waiting) + 1) // 2
            self._anew(waiting[:half], self._searches)
            self._anew(waiting[half:], self._searches)
            return
        for entry in waiting:
            outcomes = known.get(id(entry))
            if outcomes is not None and len(outcomes) == len(entry.units):
                entry.call.resolve(outcomes)
            else:
                entry.call.reject(error)

    def _anew(self, entries: Sequence[Entry[T]], searches: Searches) -> None:
        self._launch(Flight(self._patience, self._telemetry, self._common, entries, self._launch, searches))


def shared_unit(common: Common, entry: Entry[Any]) -> Unit | None:
    """The one item of a caller that is asked for once, however many ask for it. A list is sent as it was given."""
    shares = common.operation.path is not None and not common.operation.keyed and not common.as_batch
    return entry.units[0] if shares and len(entry.units) == 1 else None


def final(outcome: Outcome[Any] | None) -> bool:
    return isinstance(outcome, Got) or (outcome is not None and not may_help(outcome))


def refuses_whole(error: LunaSecError) -> bool:
    """What one item may have brought upon all."""
    return isinstance(error, (InvalidRequest, PayloadTooLarge))
