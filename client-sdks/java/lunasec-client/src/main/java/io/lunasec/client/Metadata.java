package io.lunasec.client;

import java.time.Instant;
import java.util.Optional;

/**
 * A token's metadata.
 *
 * @param json the text of a JSON object, as it was spelled; {@code {}} until some is set
 * @param version 0 until some is set, then one more with every set
 * @param createdAt when the value was tokenized
 * @param expiresAt when it expires, if it does
 * @param staleness where the answer is older than it should be
 */
public record Metadata(
        String json, long version, Instant createdAt, Optional<Instant> expiresAt, Optional<Staleness> staleness) {
    /** Not what it holds: it was given with a secret. */
    @Override
    public String toString() {
        return "Metadata[version=" + version + ", createdAt=" + createdAt + ", expiresAt=" + expiresAt + "]";
    }
}
