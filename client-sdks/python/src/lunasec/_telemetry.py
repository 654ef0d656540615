"""A span for each request, through OpenTelemetry where the application has it.

A span says the operation, how many items it was about, how often it was tried again and the code that it ended with:
never a token, a value or a session."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ._transport import Headers

# As W3C Trace Context bounds what is carried on.
_TRACE_TEXT: Final = re.compile(r"[\x20-\x7e]{1,512}")


class Span:
    """Nothing is traced."""

    def propagate(self, headers: Headers) -> None:
        pass

    def retried(self) -> None:
        pass

    def end(self, code: str) -> None:
        pass


_NOTHING: Final = Span()


class Telemetry:
    """Nothing is traced."""

    def here(self) -> object:
        """The context of a caller, to be handed to `start`."""
        return None

    def start(self, operation: str, items: int, callers: Sequence[object]) -> Span:
        """A span below the first of these callers, linked to the others."""
        return _NOTHING


class _OpenTelemetry(Telemetry):
    def __init__(self) -> None:
        from opentelemetry import context, propagate, trace

        self._context = context
        self._propagate = propagate
        self._trace = trace

    def here(self) -> object:
        return self._context.get_current()

    def start(self, operation: str, items: int, callers: Sequence[object]) -> Span:
        try:
            return self._started(operation, items, [each for each in callers if each is not None])
        except Exception:
            # Whoever traces may fail: the call must not.
            return _NOTHING

    def _started(self, operation: str, items: int, callers: Sequence[Any]) -> Span:
        trace = self._trace
        parent = callers[0] if callers else self._context.get_current()
        # Asked for each time: the application may set its provider after it made its client.
        span = trace.get_tracer("lunasec").start_span(
            f"lunasec {operation}",
            context=parent,
            kind=trace.SpanKind.CLIENT,
            attributes={"lunasec.operation": operation, "lunasec.items": items},
            links=self._links(parent, callers),
        )
        return _Traced(self, span, trace.set_span_in_context(span, parent))

    def _links(self, parent: Any, callers: Sequence[Any]) -> list[Any]:
        """Those who share the request, each of their spans once."""
        trace = self._trace
        seen = {trace.get_current_span(parent).get_span_context().span_id}
        links = []
        for other in callers:
            context = trace.get_current_span(other).get_span_context()
            if context.is_valid and context.span_id not in seen:
                seen.add(context.span_id)
                links.append(trace.Link(context))
        return links

    def inject(self, context: Any) -> dict[str, str]:
        carried: dict[str, str] = {}
        self._propagate.inject(carried, context=context)
        return carried

    def failed(self, code: str) -> Any:
        return self._trace.Status(self._trace.StatusCode.ERROR, code)


class _Traced(Span):
    def __init__(self, telemetry: _OpenTelemetry, span: Any, context: Any) -> None:
        self._telemetry = telemetry
        self._span = span
        self._context = context
        self._retries = 0

    def propagate(self, headers: Headers) -> None:
        try:
            carried = self._telemetry.inject(self._context)
        except Exception:
            # It goes on without.
            return
        # What the sidecar reads, and nothing else that somebody put there: an end user's baggage, say.
        said = {
            name: text
            for name in ("traceparent", "tracestate")
            if isinstance(text := carried.get(name), str) and _TRACE_TEXT.fullmatch(text)
        }
        if "traceparent" in said:
            headers[:] = [each for each in headers if each[0] != b"traceparent"]
        headers.extend((name.encode(), text.encode()) for name, text in said.items())

    def retried(self) -> None:
        self._retries += 1

    def end(self, code: str) -> None:
        try:
            self._span.set_attribute("lunasec.code", code)
            self._span.set_attribute("lunasec.retries", self._retries)
            if code != "ok":
                # Not the error itself: what it holds is not ours to hand on.
                self._span.set_status(self._telemetry.failed(code))
            self._span.end()
        except Exception:
            # A span processor is the application's, and may fail: what was answered stays answered.
            pass


def telemetry_of(wanted: bool | None) -> Telemetry:
    """None: where it is installed. True: it must be. False: nothing is traced."""
    if wanted is False:
        return Telemetry()
    try:
        return _OpenTelemetry()
    except ImportError:
        if wanted:
            raise
        return Telemetry()
