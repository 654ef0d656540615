package io.lunasec.client;

import java.util.Optional;

/**
 * A session may not do something with a token.
 *
 * @param token that was asked about
 * @param reason {@code denied}, {@code expired}, or {@code refused} where a newer sidecar has a reason that this client does not
 *     know
 * @param staleness where the answer is older than it should be
 */
public record Invalid(Token token, String reason, Optional<Staleness> staleness) implements Verdict {}
