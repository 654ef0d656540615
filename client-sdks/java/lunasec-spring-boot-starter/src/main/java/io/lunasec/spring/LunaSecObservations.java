package io.lunasec.spring;

import io.lunasec.client.Telemetry;
import io.micrometer.observation.Observation;
import io.micrometer.observation.ObservationRegistry;
import io.micrometer.observation.transport.Kind;
import io.micrometer.observation.transport.SenderContext;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiConsumer;

/**
 * Each request as an observation {@code lunasec.requests}, below what was observed where its first caller called. Its tags are the
 * operation and the code that it ended with: no label holds a token, a session or anything that a caller chooses.
 */
public final class LunaSecObservations implements Telemetry {
    private final ObservationRegistry registry;

    /** Into this registry. */
    public LunaSecObservations(ObservationRegistry registry) {
        this.registry = registry;
    }

    @Override
    public Object here() {
        return registry.getCurrentObservation();
    }

    @Override
    public Span start(String operation, int items, List<Object> from) {
        Map<String, String> headers = new LinkedHashMap<>();
        SenderContext<Map<String, String>> context =
                new SenderContext<>((carrier, name, value) -> carrier.put(name, value), Kind.CLIENT);
        context.setCarrier(headers);
        context.setRemoteServiceName("lunasec");
        Observation observation = Observation.createNotStarted("lunasec.requests", () -> context, registry)
                .contextualName("lunasec " + operation)
                .lowCardinalityKeyValue("operation", operation)
                .highCardinalityKeyValue("items", String.valueOf(items));
        if (!from.isEmpty() && from.get(0) instanceof Observation parent) {
            observation.parentObservation(parent);
        }
        return new Observed(observation.start(), headers);
    }

    private static final class Observed implements Span {
        private final Observation observation;
        private final Map<String, String> headers;
        private int retries;

        private Observed(Observation observation, Map<String, String> headers) {
            this.observation = observation;
            this.headers = headers;
        }

        @Override
        public void propagate(BiConsumer<String, String> to) {
            headers.forEach(to);
        }

        @Override
        public void retried() {
            retries++;
        }

        @Override
        public void end(String code) {
            observation
                    .lowCardinalityKeyValue("code", code)
                    .highCardinalityKeyValue("retries", String.valueOf(retries))
                    .stop();
        }
    }
}
