package io.lunasec.client;

/** One item of a batch of reads: {@link Value}, {@link Masked}, {@link Fallback} or {@link Failed}. */
public sealed interface RevealedItem permits Revealed, Failed {}
