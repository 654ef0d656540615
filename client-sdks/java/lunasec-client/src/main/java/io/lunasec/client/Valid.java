package io.lunasec.client;

import java.time.Instant;
import java.util.Optional;

/**
 * A session may do something with a token.
 *
 * @param token that was asked about
 * @param expiresAt until when
 * @param staleness where the answer is older than it should be
 */
public record Valid(Token token, Instant expiresAt, Optional<Staleness> staleness) implements Verdict {}
