package io.lunasec.client;

import java.util.List;
import java.util.function.BiConsumer;

/**
 * Where requests are told of, for traces and meters. What is told never holds a token, a value or a session. {@link #here()} runs in
 * the thread of whoever calls; the rest in the client's own, which must not be kept waiting. What it throws is dropped.
 */
public interface Telemetry {
    /** What is active where a call is made, to be handed to {@link #start}; null if nothing. */
    Object here();

    /**
     * A request begins.
     *
     * @param operation {@code tokenize}, {@code detokenize}, {@code metadata/get}, …
     * @param items how many it is about
     * @param from what was active where each of those who share it called; the first one's is its parent
     */
    Span start(String operation, int items, List<Object> from);

    /** One request under way. */
    interface Span {
        /** Gives the headers that carry it on: {@code traceparent} and {@code tracestate}. */
        void propagate(BiConsumer<String, String> headers);

        /** It is tried again. */
        void retried();

        /** It is over, with {@code ok} or the code of its error. */
        void end(String code);
    }
}
