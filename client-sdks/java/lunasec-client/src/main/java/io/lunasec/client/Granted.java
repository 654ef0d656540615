package io.lunasec.client;

import java.time.Instant;

/**
 * A session may now do something with a token.
 *
 * @param token that was granted
 * @param expiresAt later than asked for where an earlier grant lasts longer
 * @param durability where the grant is safe
 */
public record Granted(Token token, Instant expiresAt, Durability durability) implements GrantedItem {}
