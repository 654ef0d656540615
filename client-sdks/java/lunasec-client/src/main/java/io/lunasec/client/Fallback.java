package io.lunasec.client;

import io.lunasec.client.LunaSecException.Unavailable;

/**
 * Nobody could answer: what the policy's function gave instead of a value.
 *
 * @param token that was asked for
 * @param value what the function gave; null if it gave that
 * @param error all that is known about why
 */
public record Fallback(Token token, Object value, Unavailable error) implements Revealed {
    /** The code of the error: {@code storage_unavailable}, {@code sidecar_unreachable}, … */
    public String reason() {
        return error.code();
    }

    /** Not what the function gave: it may be as secret as the value. */
    @Override
    public String toString() {
        return "Fallback[token=" + token + ", reason=" + reason() + "]";
    }
}
