package io.lunasec.client;

import java.util.Optional;

/**
 * A value, revealed.
 *
 * @param token that it belongs to
 * @param value {@code value().reveal()} gives its text
 * @param staleness where the answer is older than it should be, or a dependency is away
 */
public record Value(Token token, Plaintext value, Optional<Staleness> staleness) implements Revealed {
    /** The text of the value: {@code value().reveal()}. */
    public String reveal() {
        return value.reveal();
    }
}
