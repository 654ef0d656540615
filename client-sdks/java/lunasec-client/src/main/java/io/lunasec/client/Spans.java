package io.lunasec.client;

import java.util.List;
import java.util.function.BiConsumer;

/** Telemetry that cannot fail a call: it is the application's, and may throw, also Errors where its library is of another version. */
final class Spans {
    static final String OK = "ok";
    private static final Telemetry.Span NOTHING = new Telemetry.Span() {
        @Override
        public void propagate(BiConsumer<String, String> headers) {}

        @Override
        public void retried() {}

        @Override
        public void end(String code) {}
    };

    private final Telemetry telemetry;

    /** May be null: nothing is told. */
    Spans(Telemetry telemetry) {
        this.telemetry = telemetry;
    }

    static String codeOf(Throwable error) {
        return error instanceof LunaSecException known ? known.code() : "aborted";
    }

    Object here() {
        try {
            return telemetry == null ? null : telemetry.here();
        } catch (Throwable theirs) {
            return null;
        }
    }

    Telemetry.Span start(String operation, int items, List<Object> from) {
        try {
            return telemetry == null ? NOTHING : new Guarded(telemetry.start(operation, items, from));
        } catch (Throwable theirs) {
            return NOTHING;
        }
    }

    private record Guarded(Telemetry.Span span) implements Telemetry.Span {
        @Override
        public void propagate(BiConsumer<String, String> headers) {
            guarded(() -> span.propagate((name, value) -> {
                if (carries(name) && fits(value)) {
                    headers.accept(name, value);
                }
            }));
        }

        @Override
        public void retried() {
            guarded(span::retried);
        }

        @Override
        public void end(String code) {
            guarded(() -> span.end(code));
        }

        private static void guarded(Runnable theirs) {
            try {
                theirs.run();
            } catch (Throwable dropped) {
                // What was answered stays answered.
            }
        }

        /** What the sidecar reads, and nothing else that somebody put there: an end user's baggage, say. */
        private static boolean carries(String name) {
            return name.equals("traceparent") || name.equals("tracestate");
        }

        private static boolean fits(String value) {
            return value.length() <= 512 && value.chars().allMatch(each -> each >= 0x20 && each <= 0x7e);
        }
    }
}
