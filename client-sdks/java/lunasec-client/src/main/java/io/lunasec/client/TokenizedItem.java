package io.lunasec.client;

/** One item of a list of tokenizes: {@link Tokenized} or {@link Failed}. */
public sealed interface TokenizedItem permits Tokenized, Failed {}
