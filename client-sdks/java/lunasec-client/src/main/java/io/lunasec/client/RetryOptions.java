package io.lunasec.client;

import java.time.Duration;

/**
 * How a call is tried again. Immutable; each method gives a copy.
 *
 * @param attempts of a call, the first included; 0: 3, and 1 where a policy stands in for an answer
 * @param pause the longest before the second attempt; each next one may be twice as long
 * @param pauseMost the longest of all; the time that the sidecar asks for comes on top
 * @param budget retries after answers that may have been saved up, for all calls of a client together; ten successes save up one
 *     more. Connections that break have their own.
 */
public record RetryOptions(int attempts, Duration pause, Duration pauseMost, int budget) {
    private static final RetryOptions DEFAULTS =
            new RetryOptions(0, Limits.PAUSE, Limits.PAUSE_MOST, Limits.RETRY_BUDGET);

    /** Checks what is said. */
    public RetryOptions {
        if (attempts < 0 || budget < 0) {
            throw LunaSecException.invalid("attempts and budget are counts: 0 or more");
        }
        Times.checked("pause", pause);
        Times.checked("pauseMost", pauseMost);
    }

    /** Up to 3 attempts, after up to 50 ms, 100 ms, …, from a budget of 100. */
    public static RetryOptions defaults() {
        return DEFAULTS;
    }

    /** Attempts of a call, the first included. */
    public RetryOptions attempts(int most) {
        if (most < 1) {
            throw LunaSecException.invalid("attempts count the first one: 1 or more");
        }
        return new RetryOptions(most, pause, pauseMost, budget);
    }

    /** The longest pause before the second attempt. */
    public RetryOptions pause(Duration first) {
        return new RetryOptions(attempts, first, pauseMost, budget);
    }

    /** The longest pause of all. */
    public RetryOptions pauseMost(Duration most) {
        return new RetryOptions(attempts, pause, most, budget);
    }

    /** Retries that may have been saved up. */
    public RetryOptions budget(int retries) {
        return new RetryOptions(attempts, pause, pauseMost, retries);
    }
}
