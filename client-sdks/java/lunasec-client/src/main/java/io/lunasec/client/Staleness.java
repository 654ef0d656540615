package io.lunasec.client;

import java.time.Duration;
import java.util.Optional;

/**
 * On an answer only where it is older than it should be, or was made while a dependency is away.
 *
 * @param degraded what is away or slow: {@code storage}, {@code keys} or {@code storage,keys}
 * @param age how old the answer is, to the second, where that is known
 */
public record Staleness(String degraded, Optional<Duration> age) {}
