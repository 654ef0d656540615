package io.lunasec.client;

/** One item of a list of deletes: {@link Deleted} or {@link Failed}. */
public sealed interface DeletedItem permits Deleted, Failed {}
