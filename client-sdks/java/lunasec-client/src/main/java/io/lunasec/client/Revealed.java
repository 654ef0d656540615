package io.lunasec.client;

/** What a read gave under a policy that stands in for an answer: the compiler asks for a look before there is a value. */
public sealed interface Revealed extends RevealedItem permits Value, Masked, Fallback {
    /** The token that was asked for. */
    Token token();
}
