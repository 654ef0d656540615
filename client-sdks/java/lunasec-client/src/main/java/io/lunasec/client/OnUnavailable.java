package io.lunasec.client;

import io.lunasec.client.LunaSecException.SidecarUnreachable;
import io.lunasec.client.LunaSecException.Unavailable;
import java.util.Objects;
import java.util.function.BiFunction;

/**
 * What a read does when nobody can answer it: the sidecar, its storage or its keys are away. Never when the answer is no: {@code
 * grant_denied}, {@code forbidden}, {@code not_found}, {@code rate_limited} and all other codes throw whatever is chosen.
 *
 * @param <R> what a read gives: {@link Value}, or {@link Revealed} where something may stand in for one
 */
public abstract sealed class OnUnavailable<R extends Revealed> {
    private static final OnUnavailable<Value> FAIL = new Fail();
    private static final OnUnavailable<Revealed> MASK = new Mask(Limits.MASK);

    /** Throw {@link Unavailable}. The default. */
    public static OnUnavailable<Value> fail() {
        return FAIL;
    }

    /** Give {@link Masked} with {@code ••••}. */
    public static OnUnavailable<Revealed> mask() {
        return MASK;
    }

    /** Give {@link Masked} with this text; not null. */
    public static OnUnavailable<Revealed> mask(String text) {
        return new Mask(Objects.requireNonNull(text, "a mask is a text, and not null"));
    }

    /**
     * Give {@link Fallback} with what the function gives. It runs in the thread that asked, or in the client's executor where that
     * got a future. What it throws is thrown; in a batch it is the cause of its item's error.
     */
    public static OnUnavailable<Revealed> fallback(BiFunction<Token, Unavailable, ?> function) {
        return new With(Objects.requireNonNull(function, "a fallback is a function, and not null"));
    }

    /** Whether something stands in, so that a call does not wait for better times. */
    abstract boolean stands();

    /** What stands in for the value; throws the error where nothing may. */
    abstract R instead(Token token, LunaSecException error);

    /** A value is what every policy gives where there is one. */
    @SuppressWarnings("unchecked")
    R given(Value value) {
        return (R) value;
    }

    /** Whether a policy stands in for it. Not where the client was closed: that is no outage, but a mistake to be seen. */
    boolean standsInFor(Throwable error) {
        return stands()
                && error instanceof Unavailable
                && !(error instanceof SidecarUnreachable unreachable && unreachable.closed());
    }

    private static final class Fail extends OnUnavailable<Value> {
        @Override
        boolean stands() {
            return false;
        }

        @Override
        Value instead(Token token, LunaSecException error) {
            throw error;
        }

        @Override
        public String toString() {
            return "fail";
        }
    }

    private static final class Mask extends OnUnavailable<Revealed> {
        private final String text;

        private Mask(String text) {
            this.text = text;
        }

        @Override
        boolean stands() {
            return true;
        }

        @Override
        Revealed instead(Token token, LunaSecException error) {
            if (!standsInFor(error)) {
                throw error;
            }
            return new Masked(token, text, (Unavailable) error);
        }

        @Override
        public String toString() {
            return "mask";
        }
    }

    private static final class With extends OnUnavailable<Revealed> {
        private final BiFunction<Token, Unavailable, ?> function;

        private With(BiFunction<Token, Unavailable, ?> function) {
            this.function = function;
        }

        @Override
        boolean stands() {
            return true;
        }

        @Override
        Revealed instead(Token token, LunaSecException error) {
            if (!standsInFor(error)) {
                throw error;
            }
            Unavailable away = (Unavailable) error;
            return new Fallback(token, function.apply(token, away), away);
        }

        @Override
        public String toString() {
            return "fallback";
        }
    }
}
