package io.lunasec.client;

import java.time.Duration;
import java.util.Map;
import java.util.Optional;

/**
 * What the sidecar says of itself and of what it needs.
 *
 * @param version of the sidecar
 * @param uptime since it started
 * @param dependencies by name: {@code storage} and {@code keys}, and {@code state} and {@code audit} where there are such
 * @param caches what it holds in memory
 * @param journal what waits for storage
 */
public record Status(
        String version, Duration uptime, Map<String, Dependency> dependencies, Caches caches, Journal journal) {

    /** Whether anything that the sidecar needs is not up. */
    public boolean degraded() {
        return dependencies.values().stream().anyMatch(each -> each.state() != State.UP);
    }

    /** How a dependency is. */
    public enum State {
        /** It answers. */
        UP,
        /** It does not, and what it gave before still serves. */
        DEGRADED,
        /** It does not. */
        DOWN,
        /** A newer sidecar says something that this client does not know. */
        UNKNOWN
    }

    /**
     * One dependency.
     *
     * @param state as last seen
     * @param since when, RFC 3339
     * @param reason why it is not up
     */
    public record Dependency(State state, String since, Optional<String> reason) {}

    /**
     * What is held in memory.
     *
     * @param dataKeys unwrapped data keys
     * @param idempotencyKeys that are remembered
     * @param values and metadata, sealed
     * @param grants and sessions
     */
    public record Caches(long dataKeys, long idempotencyKeys, Cache values, Cache grants) {}

    /**
     * How full a cache is.
     *
     * @param entries in it
     * @param bytes of memory
     */
    public record Cache(long entries, long bytes) {}

    /**
     * Writes that wait for storage.
     *
     * @param pending how many
     * @param oldest how long the oldest has waited
     */
    public record Journal(long pending, Duration oldest) {}
}
