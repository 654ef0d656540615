package io.lunasec.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status.Code;
import io.opentelemetry.api.GlobalOpenTelemetry;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.api.trace.propagation.W3CTraceContextPropagator;
import io.opentelemetry.context.Scope;
import io.opentelemetry.context.propagation.ContextPropagators;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.testing.exporter.InMemorySpanExporter;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.data.SpanData;
import io.opentelemetry.sdk.trace.export.SimpleSpanProcessor;
import java.util.List;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A span for each request, below the caller's; the sidecar is told of it. */
class TelemetryTest {
    private final InMemorySpanExporter spans = InMemorySpanExporter.create();
    private FakeSidecar sidecar;

    @BeforeEach
    void start() throws Exception {
        GlobalOpenTelemetry.resetForTest();
        OpenTelemetrySdk.builder()
                .setTracerProvider(SdkTracerProvider.builder()
                        .addSpanProcessor(SimpleSpanProcessor.create(spans))
                        .build())
                .setPropagators(ContextPropagators.create(W3CTraceContextPropagator.getInstance()))
                .buildAndRegisterGlobal();
        sidecar = new FakeSidecar();
    }

    @AfterEach
    void stop() {
        sidecar.close();
        GlobalOpenTelemetry.resetForTest();
    }

    @Test
    @SuppressWarnings("try")
    void aRequestIsASpanBelowItsCallersAndIsCarriedOn() {
        Tracer tracer = GlobalOpenTelemetry.getTracer("test");
        sidecar.detokenize = request -> {
            if (sidecar.asked.size() == 1) {
                throw FakeSidecar.problem(Code.UNAVAILABLE, "overloaded", true);
            }
            return FakeSidecar.value("secret");
        };
        Span caller = tracer.spanBuilder("caller").startSpan();
        try (LunaSec<Value> client = LunaSec.builder().socket(sidecar.socket()).build();
                Scope scope = caller.makeCurrent()) {
            client.forSession("alice").detokenize(Token.of("lunasec-1"));
        }
        SpanData span = spans.getFinishedSpanItems().get(0);
        assertEquals("lunasec detokenize", span.getName());
        assertEquals(caller.getSpanContext().getSpanId(), span.getParentSpanId());
        assertEquals("ok", span.getAttributes().get(AttributeKey.stringKey("lunasec.code")));
        assertEquals(1, span.getAttributes().get(AttributeKey.longKey("lunasec.retries")));
        String traceparent = FakeSidecar.header(sidecar.headers.get(0), "traceparent");
        assertTrue(traceparent.contains(span.getTraceId()) && traceparent.contains(span.getSpanId()), traceparent);
        assertFalse(span.toString().contains("lunasec-1") || span.toString().contains("alice"), span.toString());
    }

    @Test
    void aSpanOfAFailureHasItsCode() {
        sidecar.detokenize = request -> {
            throw FakeSidecar.problem(Code.NOT_FOUND, "not_found", false);
        };
        try (LunaSec<Value> client = LunaSec.builder().socket(sidecar.socket()).build()) {
            assertThrows(LunaSecException.Gone.class, () -> client.detokenize(Token.of("lunasec-1")));
        }
        SpanData span = spans.getFinishedSpanItems().get(0);
        assertEquals("not_found", span.getAttributes().get(AttributeKey.stringKey("lunasec.code")));
        assertEquals("not_found", span.getStatus().getDescription());
    }

    @Test
    void telemetryThatThrowsFailsNoCall() {
        Telemetry broken = new Telemetry() {
            @Override
            public Object here() {
                throw new IllegalStateException("theirs");
            }

            @Override
            public Span start(String operation, int items, List<Object> from) {
                return new Span() {
                    @Override
                    public void propagate(BiConsumer<String, String> headers) {
                        headers.accept("baggage", "an end user's");
                        headers.accept("traceparent", "line\nbreak");
                        throw new IllegalStateException("theirs");
                    }

                    @Override
                    public void retried() {
                        throw new IllegalStateException("theirs");
                    }

                    @Override
                    public void end(String code) {
                        throw new IllegalStateException("theirs");
                    }
                };
            }
        };
        try (LunaSec<Value> client = sidecar.client().telemetry(broken).build()) {
            assertEquals(
                    "value of lunasec-1",
                    client.detokenize(Token.of("lunasec-1")).reveal());
        }
        assertEquals(null, FakeSidecar.header(sidecar.headers.get(0), "traceparent"));
        assertEquals(null, FakeSidecar.header(sidecar.headers.get(0), "baggage"));
    }

    /** As telemetry does whose library is of another version than it was compiled with. */
    private record Broken(String where) implements Telemetry {
        private void at(String place) {
            if (place.equals(where)) {
                throw new NoSuchMethodError("theirs");
            }
        }

        @Override
        public Object here() {
            at("here");
            return null;
        }

        @Override
        public Span start(String operation, int items, List<Object> from) {
            at("start");
            return new Span() {
                @Override
                public void propagate(BiConsumer<String, String> headers) {
                    at("propagate");
                }

                @Override
                public void retried() {
                    at("retried");
                }

                @Override
                public void end(String code) {
                    at("end");
                }
            };
        }
    }

    @Test
    void telemetryThatThrowsAnErrorFailsNoCallAndKeepsNoPlace() {
        for (String where : List.of("here", "start", "propagate", "retried", "end")) {
            int before = sidecar.asked.size();
            sidecar.detokenize = request -> {
                if (sidecar.asked.size() == before + 1) {
                    throw FakeSidecar.problem(Code.UNAVAILABLE, "overloaded", true);
                }
                return FakeSidecar.value("v");
            };
            Token token = Token.of("lunasec-1");
            try (LunaSec<Value> client = sidecar.client()
                    .telemetry(new Broken(where))
                    .pendingCalls(2)
                    .deadline(java.time.Duration.ofSeconds(5))
                    .build()) {
                for (int at = 0; at < 3; at++) {
                    assertEquals("value of v", client.detokenize(token).reveal(), where);
                    assertTrue(client.detokenizeBatch(List.of(token)).get(0) instanceof Value, where);
                    assertEquals("1", client.status().version(), where);
                }
            }
        }
    }
}
