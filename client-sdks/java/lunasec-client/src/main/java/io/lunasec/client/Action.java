package io.lunasec.client;

/** What a grant can allow. */
public enum Action {
    /** Reveal the value. */
    DETOKENIZE,
    /** Read the metadata. */
    METADATA,
    /** Replace the metadata. */
    UPDATE,
    /** Delete the token. */
    DELETE
}
