package io.lunasec.client;

/** Finds OpenTelemetry where the application has it. */
final class OpenTelemetryIfThere {
    private OpenTelemetryIfThere() {}

    /** Null where it is not. */
    static Telemetry find() {
        try {
            Class.forName(
                    "io.opentelemetry.api.GlobalOpenTelemetry", false, OpenTelemetryIfThere.class.getClassLoader());
        } catch (ClassNotFoundException | LinkageError without) {
            return null;
        }
        return new OpenTelemetrySpans();
    }
}
