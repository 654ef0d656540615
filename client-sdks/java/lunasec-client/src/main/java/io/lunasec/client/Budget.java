package io.lunasec.client;

/**
 * A bucket of retries that all calls of a client share: when most calls fail, few are tried again. Answers and broken connections have
 * one each: who was told {@code overloaded} a hundred times must not notice a restart. Used in the client's thread only.
 */
final class Budget {
    /** Counted in successes: tenths of a retry are not what ten of them sum up to. */
    private long left;

    private final long most;

    Budget(int retries) {
        most = (long) retries * Limits.SUCCESSES_FOR_A_RETRY;
        left = most;
    }

    boolean take() {
        if (left < Limits.SUCCESSES_FOR_A_RETRY) {
            return false;
        }
        left -= Limits.SUCCESSES_FOR_A_RETRY;
        return true;
    }

    void succeeded() {
        left = Math.min(most, left + 1);
    }
}
