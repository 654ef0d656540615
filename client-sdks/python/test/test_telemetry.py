from __future__ import annotations

import asyncio
import builtins
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from lunasec import AsyncLunaSec, LunaSec, NotFound, Retry
from lunasec._telemetry import Telemetry, telemetry_of
from toy import Function, problem, token, values

pytestmark = pytest.mark.anyio


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", lambda name, *a, **k: provider.get_tracer(name))
    return exporter


def test_each_request_is_a_span_below_who_called(spans: InMemorySpanExporter) -> None:
    function = Function([problem("overloaded", 503, True), *[values("/v1/detokenize", {"token": token(1)})]])
    tracer = trace.get_tracer("app")
    with tracer.start_as_current_span("page") as page:
        LunaSec(transport=function.sync(), retry=Retry(pause=0)).detokenize(token(1))
    ours = spans.get_finished_spans()[0]
    assert ours.name == "lunasec detokenize"
    assert ours.parent is not None
    assert ours.parent.span_id == page.get_span_context().span_id
    assert dict(ours.attributes or {}) == {
        "lunasec.operation": "detokenize",
        "lunasec.items": 1,
        "lunasec.code": "ok",
        "lunasec.retries": 1,
    }
    span_id = f"{ours.get_span_context().span_id:016x}"
    assert all(span_id in headers["traceparent"] for headers in function.headers)
    assert token(1) not in ours.to_json()


async def test_callers_who_share_a_request_are_linked(spans: InMemorySpanExporter) -> None:
    lunasec = AsyncLunaSec(transport=Function(values).aio())
    tracer = trace.get_tracer("app")

    async def page(n: int) -> None:
        with tracer.start_as_current_span(f"page {n}"):
            await lunasec.detokenize(token(n))

    await asyncio.gather(page(1), page(2), page(3))
    ours = next(each for each in spans.get_finished_spans() if each.name == "lunasec detokenize")
    assert len(ours.links) == 2


def test_errors_end_a_span_with_their_code_and_nothing_else(spans: InMemorySpanExporter) -> None:
    with pytest.raises(NotFound):
        LunaSec(transport=Function([problem("not_found", 404)]).sync()).detokenize(token(1))
    (ours,) = spans.get_finished_spans()
    assert (ours.attributes or {})["lunasec.code"] == "not_found"
    assert ours.events == ()


def test_what_traces_may_fail_and_the_call_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("tracer")

    monkeypatch.setattr(trace, "get_tracer", broken)
    assert LunaSec(transport=Function(values).sync()).detokenize(token(1)).kind == "value"


def test_nothing_is_traced_where_it_is_not_installed_or_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(telemetry_of(False)) is Telemetry
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert type(telemetry_of(None)) is Telemetry
    with pytest.raises(ImportError):
        telemetry_of(True)
    function = Function(values)
    LunaSec(transport=function.sync()).detokenize(token(1))
    assert "traceparent" not in function.headers[0]


def test_the_trace_of_who_called_goes_along(spans: InMemorySpanExporter) -> None:
    function = Function(values)
    remote = trace.NonRecordingSpan(trace.SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=trace.TraceFlags(1)))
    attached = context.attach(trace.set_span_in_context(remote))
    try:
        LunaSec(transport=function.sync()).detokenize(token(1))
    finally:
        context.detach(attached)
    assert function.headers[0]["traceparent"].startswith(f"00-{0xABC:032x}-")
