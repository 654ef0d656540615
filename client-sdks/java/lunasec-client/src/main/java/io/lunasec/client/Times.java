package io.lunasec.client;

import java.time.Duration;
import java.util.Objects;

/** Times that can be waited for. */
final class Times {
    private Times() {}

    static Duration checked(String what, Duration time) {
        Objects.requireNonNull(time, what);
        if (time.isNegative() || time.compareTo(Limits.LONGEST) > 0) {
            throw LunaSecException.invalid(what + " is a time from 0 to 24 days");
        }
        return time;
    }
}
