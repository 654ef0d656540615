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

    /** Not the metadata: it is given with a secret. */
    @Override
    public String toString() {
        return "TokenizeItem[value=" + value + ", expiresIn=" + expiresIn + "]";
    }
}
