package io.lunasec.client;

/**
 * A token has no value any more, whether it had one or not.
 *
 * @param token that was deleted
 * @param durability where that is safe
 */
public record Deleted(Token token, Durability durability) implements DeletedItem {}
