package io.lunasec.client;

/** One item of a list of grants: {@link Granted} or {@link Failed}. */
public sealed interface GrantedItem permits Granted, Failed {}
