package io.lunasec.client;

import java.util.OptionalInt;

/**
 * Grants were taken back.
 *
 * @param revoked of how many tokens; none for a whole session. May be too low where the client had to ask twice
 * @param durability where that is safe
 */
public record Revoked(OptionalInt revoked, Durability durability) {}
