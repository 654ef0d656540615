package io.lunasec.client;

import java.time.Duration;
import java.util.Objects;

/**
 * One value of a batch to tokenize.
 *
 * @param value not null
 * @param metadata the text of a JSON object of at most 16 KiB, or null
 * @param expiresIn for how long, or null: for ever
 */
public record TokenizeItem(Plaintext value, String metadata, Duration expiresIn) {
    /** Checks that there is a value. */
    public TokenizeItem {
        Objects.requireNonNull(value, "a value is a text or bytes, and not null");
    }

    /** A text. */
    public static TokenizeItem of(String text) {
        return of(Plaintext.of(text));
    }

    /** A value. */
    public static TokenizeItem of(Plaintext value) {
        return new TokenizeItem(value, null, null);
    }

    /** The text of a JSON object of at most 16 KiB, kept beside the value. */
    public TokenizeItem metadata(String json) {
        return new TokenizeItem(value, json, expiresIn);
    }

    /** For how long; for ever unless given. */
    public TokenizeItem expiresIn(Duration time) {
        return new TokenizeItem(value, metadata, time);
    }

    /** The same, spelled: {@code 15m}, {@code 720h}, {@code 30d}. */
    public TokenizeItem expiresIn(String time) {
        return expiresIn(Times.parse("expiresIn", time));
    }

    /** Not the metadata: it is given with a secret. */
    @Override
    public String toString() {
        return "TokenizeItem[value=" + value + ", expiresIn=" + expiresIn + "]";
    }
}
