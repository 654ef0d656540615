package io.lunasec.client;

/** Where an acknowledged write is safe. */
public enum Durability {
    /** In central storage. */
    STORED,
    /** On this sidecar's volume until storage is back. Effective here at once; other sidecars may not know of it until then. */
    JOURNALED
}
