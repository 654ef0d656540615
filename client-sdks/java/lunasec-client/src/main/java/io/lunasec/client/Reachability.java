package io.lunasec.client;

import java.time.Duration;

/**
 * Since when nobody answers at the socket, and how long calls still wait for that to change. Afterwards a call asks once, which costs
 * next to nothing on a Unix socket, and fails at once: so it is noticed when the sidecar is back. Used in the client's thread only.
 */
final class Reachability {
    private final long startNanos;
    private final long restartNanos;
    private boolean missing;
    private long since;
    private boolean everReached;

    Reachability(Duration start, Duration restart) {
        startNanos = start.toNanos();
        restartNanos = restart.toNanos();
    }

    void reached() {
        missing = false;
        everReached = true;
    }

    /** Nanoseconds that a call may still wait; 0 or less: none. */
    long missed(long now) {
        if (!missing) {
            missing = true;
            since = now;
        }
        return since + (everReached ? restartNanos : startNanos) - now;
    }
}
