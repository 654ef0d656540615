package io.lunasec.client;

import java.time.Duration;
import java.util.Objects;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Times that can be waited for, and times as the contract spells them. */
final class Times {
    private static final Pattern SPELLED = Pattern.compile("(\\d{1,12})(ms|s|m|h|d)");

    private Times() {}

    /** As configurations spell times: {@code 15m}, {@code 720h}. */
    static Duration parse(String what, String text) {
        Matcher parts = SPELLED.matcher(Objects.requireNonNull(text, what));
        if (!parts.matches()) {
            throw LunaSecException.invalid(what + " is a number and one of ms, s, m, h and d, such as 15m");
        }
        long number = Long.parseLong(parts.group(1));
        return switch (parts.group(2)) {
            case "ms" -> Duration.ofMillis(number);
            case "s" -> Duration.ofSeconds(number);
            case "m" -> Duration.ofMinutes(number);
            case "h" -> Duration.ofHours(number);
            default -> Duration.ofDays(number);
        };
    }

    static Duration checked(String what, Duration time) {
        Objects.requireNonNull(time, what);
        if (time.isNegative() || time.compareTo(Limits.LONGEST) > 0) {
            throw LunaSecException.invalid(what + " is a time from 0 to 24 days");
        }
        return time;
    }
}
