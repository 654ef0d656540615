package io.lunasec.client;

import java.util.Optional;

/**
 * An item of a list that failed by itself; the others did not.
 *
 * @param token that it is about, where the call named one
 * @param error why
 */
public record Failed(Optional<Token> token, LunaSecException error)
        implements RevealedItem, TokenizedItem, GrantedItem, Verdict, DeletedItem {}
