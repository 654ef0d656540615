package io.lunasec.client;

import io.lunasec.client.LunaSecException.Facts;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * The calls under way in a process: so many, and no more. What one session has of them is bounded, too, for what one user may have an
 * application ask is often more than it looks like: half of them, and a tenth for calls that are a request each.
 */
final class Places {
    private final int most;
    private final AtomicInteger taken = new AtomicInteger();
    private final ConcurrentHashMap<String, Integer> sessions = new ConcurrentHashMap<>();
    private final ConcurrentHashMap<String, Integer> alone = new ConcurrentHashMap<>();

    Places(int most) {
        this.most = most;
    }

    /** A place for one caller to wait, until it is said that it has left; refused where too many do. The session may be null. */
    Runnable take(String session, boolean aRequestEach) {
        if (taken.incrementAndGet() > most) {
            taken.decrementAndGet();
            throw tooMany(most + " calls are under way in this process");
        }
        if (session == null) {
            return taken::decrementAndGet;
        }
        try {
            takeOf(sessions, session, most / 2, " calls of one session are under way");
            if (aRequestEach) {
                takeOfBoth(session);
            }
        } catch (LunaSecException refused) {
            taken.decrementAndGet();
            throw refused;
        }
        return () -> leave(session, aRequestEach);
    }

    private void takeOfBoth(String session) {
        try {
            takeOf(alone, session, most / 10, " requests for metadata of one session are under way");
        } catch (LunaSecException refused) {
            less(sessions, session);
            throw refused;
        }
    }

    private void leave(String session, boolean aRequestEach) {
        taken.decrementAndGet();
        less(sessions, session);
        if (aRequestEach) {
            less(alone, session);
        }
    }

    private static void takeOf(ConcurrentHashMap<String, Integer> counts, String session, int part, String what) {
        int bound = Math.max(1, part);
        if (counts.merge(session, 1, Integer::sum) > bound) {
            less(counts, session);
            throw tooMany(bound + what);
        }
    }

    private static void less(ConcurrentHashMap<String, Integer> counts, String session) {
        counts.computeIfPresent(session, (name, count) -> count == 1 ? null : count - 1);
    }

    private static LunaSecException tooMany(String what) {
        return LunaSecException.of(
                new Facts("overloaded", what + ", which is all that may be: make fewer at once, or raise pendingCalls")
                        .retryable(true));
    }
}
