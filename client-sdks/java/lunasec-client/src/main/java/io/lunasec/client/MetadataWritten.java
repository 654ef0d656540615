package io.lunasec.client;

/**
 * Metadata was set.
 *
 * @param durability where it is safe
 * @param version that it has now
 */
public record MetadataWritten(Durability durability, long version) {}
