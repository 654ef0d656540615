package io.lunasec.client;

import io.opentelemetry.api.GlobalOpenTelemetry;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.trace.SpanBuilder;
import io.opentelemetry.api.trace.SpanContext;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.context.Context;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.BiConsumer;

/**
 * A client span for each request, below the span that was active where the first of its callers called; the others are linked. A span
 * says the operation, how many items it was about, how often it was tried again and the code that it ended with.
 */
final class OpenTelemetrySpans implements Telemetry {
    private static final AttributeKey<String> OPERATION = AttributeKey.stringKey("lunasec.operation");
    private static final AttributeKey<Long> ITEMS = AttributeKey.longKey("lunasec.items");
    private static final AttributeKey<Long> RETRIES = AttributeKey.longKey("lunasec.retries");
    private static final AttributeKey<String> CODE = AttributeKey.stringKey("lunasec.code");

    @Override
    public Object here() {
        return Context.current();
    }

    @Override
    public Span start(String operation, int items, List<Object> from) {
        Context parent = from.isEmpty() || from.get(0) == null ? Context.root() : (Context) from.get(0);
        SpanBuilder builder = GlobalOpenTelemetry.getTracer("io.lunasec.client")
                .spanBuilder("lunasec " + operation)
                .setSpanKind(SpanKind.CLIENT)
                .setParent(parent)
                .setAttribute(OPERATION, operation)
                .setAttribute(ITEMS, (long) items);
        link(builder, parent, from);
        io.opentelemetry.api.trace.Span span = builder.startSpan();
        return new Traced(span, parent.with(span));
    }

    /** Those who share the request, each of their spans once. */
    private static void link(SpanBuilder builder, Context parent, List<Object> from) {
        Set<String> seen = new HashSet<>();
        seen.add(io.opentelemetry.api.trace.Span.fromContext(parent)
                .getSpanContext()
                .getSpanId());
        for (Object other : from) {
            SpanContext context = other == null
                    ? SpanContext.getInvalid()
                    : io.opentelemetry.api.trace.Span.fromContext((Context) other)
                            .getSpanContext();
            if (context.isValid() && seen.add(context.getSpanId())) {
                builder.addLink(context);
            }
        }
    }

    private static final class Traced implements Span {
        private final io.opentelemetry.api.trace.Span span;
        private final Context context;
        private long retries;

        private Traced(io.opentelemetry.api.trace.Span span, Context context) {
            this.span = span;
            this.context = context;
        }

        @Override
        public void propagate(BiConsumer<String, String> headers) {
            GlobalOpenTelemetry.getPropagators()
                    .getTextMapPropagator()
                    .inject(context, headers, (carrier, name, value) -> carrier.accept(name, value));
        }

        @Override
        public void retried() {
            retries++;
        }

        @Override
        public void end(String code) {
            span.setAttribute(CODE, code).setAttribute(RETRIES, retries);
            if (!code.equals(Spans.OK)) {
                span.setStatus(StatusCode.ERROR, code);
            }
            span.end();
        }
    }
}
