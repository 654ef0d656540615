package io.lunasec.client;

import java.time.Duration;

/**
 * What goes with a value. Immutable; each method gives a copy.
 *
 * @param metadata the text of a JSON object of at most 16 KiB, or null
 * @param expiresIn for how long, or null: for ever
 * @param idempotencyKey or null; see {@link #idempotencyKey(String)}
 */
public record TokenizeOptions(String metadata, Duration expiresIn, String idempotencyKey) {
    private static final TokenizeOptions NONE = new TokenizeOptions(null, null, null);

    /** Nothing beside the value. */
    public static TokenizeOptions none() {
        return NONE;
    }

    /** The text of a JSON object of at most 16 KiB, kept in the clear beside the value, encrypted at rest. */
    public TokenizeOptions metadata(String json) {
        return new TokenizeOptions(json, expiresIn, idempotencyKey);
    }

    /** For how long; for ever unless given. */
    public TokenizeOptions expiresIn(Duration time) {
        return new TokenizeOptions(metadata, time, idempotencyKey);
    }

    /** The same, spelled: {@code 15m}, {@code 720h}, {@code 30d}. */
    public TokenizeOptions expiresIn(String time) {
        return expiresIn(Times.parse("expiresIn", time));
    }

    /**
     * 1 to 255 visible ASCII characters that name this value for 24 hours: the same key with the same value gives the same token,
     * also from another process beside the same sidecar. Unless given, the client makes one for each call, so that its own retries
     * give one token.
     */
    public TokenizeOptions idempotencyKey(String key) {
        return new TokenizeOptions(metadata, expiresIn, key);
    }

    /** Not the metadata: it is given with a secret. */
    @Override
    public String toString() {
        return "TokenizeOptions[expiresIn=" + expiresIn + "]";
    }
}
