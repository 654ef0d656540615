package io.lunasec.client;

/** One item of a verify: {@link Valid}, {@link Invalid} or, where nobody could tell, {@link Failed}. Only the first is a yes. */
public sealed interface Verdict permits Valid, Invalid, Failed {}
