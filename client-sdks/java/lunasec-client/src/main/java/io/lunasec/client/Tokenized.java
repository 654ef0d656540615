package io.lunasec.client;

/**
 * What a tokenize gave.
 *
 * @param token what to keep instead of the value: store {@code token().expose()}
 * @param durability where the value is safe
 */
public record Tokenized(Token token, Durability durability) implements TokenizedItem {}
