package io.lunasec.client;

/**
 * What all who share a request have in common.
 *
 * @param asBatch the caller asked for a batch, also of a single item
 * @param idempotencyKey of the application; may be null
 */
record Common<T>(ListOperation<T> operation, Context context, int attempts, boolean asBatch, String idempotencyKey) {

    /** Whether calls of both may share a request. */
    boolean sameAs(Common<?> other) {
        return attempts == other.attempts
                && (context == other.context || context.key().equals(other.context.key()))
                && operation.equals(other.operation);
    }

    /** The one item of a caller that is asked for once, however many ask for it; null if there is none. A list is sent as given. */
    Unit shared(Entry<T> entry) {
        boolean single = !operation.keyed() && !asBatch && entry.units().size() == 1;
        return single ? entry.units().get(0) : null;
    }
}
