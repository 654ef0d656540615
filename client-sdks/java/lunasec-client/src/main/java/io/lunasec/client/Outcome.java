package io.lunasec.client;

/**
 * What one item came to: one of the two.
 *
 * @param value or null
 * @param error or null
 */
record Outcome<T>(T value, LunaSecException error) {
    static <T> Outcome<T> of(T value) {
        return new Outcome<>(value, null);
    }

    static <T> Outcome<T> failed(LunaSecException error) {
        return new Outcome<>(null, error);
    }

    /** Whether nothing better will come of it. */
    boolean isFinal() {
        return error == null || !Retries.mayHelp(error);
    }
}
