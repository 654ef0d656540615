package io.lunasec.client;

import io.lunasec.client.LunaSecException.Overloaded;
import io.lunasec.client.LunaSecException.RateLimited;
import io.lunasec.client.LunaSecException.SidecarUnreachable;
import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/** Decides, for one request, whether and when it is tried again. */
final class Retries {
    /** There is no next attempt. */
    static final long NEVER = -1;

    /** What all requests of a client share. */
    record Shared(Budget answers, Budget breaks, Reachability reachability, Duration pause, Duration pauseMost) {}

    private final Shared shared;
    private final int attempts;
    /** Whether another time changes nothing; otherwise only what certainly had no effect is sent twice. */
    private final boolean repeatable;

    private int answered;
    private int broken;
    private int missed;

    Retries(Shared shared, int attempts, boolean repeatable) {
        this.shared = shared;
        this.attempts = attempts;
        this.repeatable = repeatable;
    }

    void succeeded() {
        shared.reachability.reached();
        shared.answers.succeeded();
        shared.breaks.succeeded();
    }

    /** Nanoseconds until the next attempt, or {@link #NEVER}. */
    long after(LunaSecException error, long now) {
        if (error instanceof SidecarUnreachable unreachable) {
            return unreachable.sent() && error.retryable() ? broken() : missed(error, now);
        }
        return answered(error);
    }

    private long missed(LunaSecException error, long now) {
        missed++;
        long left = shared.reachability.missed(now);
        if (!error.retryable() || left <= 0) {
            return NEVER;
        }
        return Math.min(left, Math.max(1_000_000, jitter(Math.min(missed, 3))));
    }

    private long broken() {
        broken++;
        int allowed = Math.max(attempts, Limits.CONNECTION_ATTEMPTS);
        if (!repeatable || broken >= allowed || !shared.breaks.take()) {
            return NEVER;
        }
        return jitter(broken);
    }

    private long answered(LunaSecException error) {
        shared.reachability.reached();
        answered++;
        boolean undone = error instanceof RateLimited || error instanceof Overloaded;
        if (!mayHelp(error) || (!repeatable && !undone)) {
            return NEVER;
        }
        if (answered >= attempts || !shared.answers.take()) {
            return NEVER;
        }
        return error.retryAfter().map(Duration::toNanos).orElse(0L) + jitter(answered);
    }

    /**
     * Whether another attempt may do better. Not where a rate is used up and nobody says until when, as of an item of a batch: a call's
     * pauses are shorter than rates are, and more attempts would only use up more.
     */
    static boolean mayHelp(LunaSecException error) {
        return error.retryable()
                && !(error instanceof RateLimited && error.retryAfter().isEmpty());
    }

    /** Full jitter: anything from nothing to twice the last one's most. */
    private long jitter(int attempt) {
        double most = Math.min(shared.pauseMost.toNanos(), shared.pause.toNanos() * Math.pow(2, attempt - 1));
        return (long) (ThreadLocalRandom.current().nextDouble() * most);
    }
}
