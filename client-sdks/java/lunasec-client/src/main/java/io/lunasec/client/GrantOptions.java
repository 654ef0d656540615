package io.lunasec.client;

import java.time.Duration;
import java.util.Set;

/**
 * What a grant may say of itself. Immutable; each method gives a copy.
 *
 * @param expiresIn for how long, or null: the sidecar's default, 15 minutes unless the operator says otherwise
 * @param actions what is allowed; none: detokenize and metadata
 */
public record GrantOptions(Duration expiresIn, Set<Action> actions) {
    private static final GrantOptions DEFAULTS = new GrantOptions(null, Set.of());

    /** Keeps a copy of the actions. */
    public GrantOptions {
        actions = Set.copyOf(actions);
    }

    /** As the sidecar grants where nothing is said. */
    public static GrantOptions defaults() {
        return DEFAULTS;
    }

    /** For how long; the operator sets the most. */
    public GrantOptions expiresIn(Duration time) {
        return new GrantOptions(time, actions);
    }

    /** The same, spelled: {@code 15m}, {@code 720h}, {@code 30d}. */
    public GrantOptions expiresIn(String time) {
        return expiresIn(Times.parse("expiresIn", time));
    }

    /** What is allowed. */
    public GrantOptions actions(Action... allowed) {
        return new GrantOptions(expiresIn, Set.of(allowed));
    }
}
