package io.lunasec.client;

import io.lunasec.client.LunaSecException.Unavailable;

/**
 * Nobody could answer: what the policy shows instead of a value.
 *
 * @param token that was asked for
 * @param text what to show
 * @param error all that is known about why
 */
public record Masked(Token token, String text, Unavailable error) implements Revealed {
    /** The code of the error: {@code storage_unavailable}, {@code sidecar_unreachable}, … */
    public String reason() {
        return error.code();
    }
}
