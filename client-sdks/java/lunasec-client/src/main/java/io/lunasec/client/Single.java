package io.lunasec.client;

import io.netty.util.AsciiString;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CancellationException;

/** A request of one caller. */
final class Single<T> extends Journey {
    private final Route<?, T> route;
    private final Call<T> call;
    private final Telemetry.Span span;
    private final List<AsciiString> head;

    Single(Engine engine, Route<?, T> route, View<?> view, Call<T> call, Object here) {
        super(engine, view.attempts(false), route.repeatable());
        this.route = route;
        this.call = call;
        this.span = engine.spans().start(route.operation(), 1, Arrays.asList(here));
        this.head = engine.head(route, view.context(), null, span);
        call.whenLeft(() -> engine.run(this::left, call));
    }

    private void left() {
        if (!stop.said()) {
            stop.say();
            span.end(Spans.codeOf(new CancellationException()));
        }
    }

    @Override
    void attempt() {
        engine.attempt(route, head, stop, (value, error) -> {
            if (error != null) {
                failed(error);
                return;
            }
            succeeded();
            call.resolve(value);
            span.end(Spans.OK);
        });
    }

    @Override
    long until() {
        return call.until();
    }

    @Override
    void again(LunaSecException error) {
        call.trouble(error);
        span.retried();
    }

    @Override
    void gaveUp(LunaSecException error) {
        call.reject(error);
        span.end(Spans.codeOf(error));
    }
}
