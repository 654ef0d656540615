package io.lunasec.client;

import java.time.Duration;
import java.util.Objects;

/**
 * What a view of a client has of its own.
 *
 * @param deadline null: the default
 * @param retryAttempts 0: the default
 */
record View<R extends Revealed>(
        Engine engine, Said said, Context context, OnUnavailable<R> policy, Duration deadline, int retryAttempts) {

    /** For whom it speaks, and what for. Any of them may be null. */
    record Said(String namespace, String session, String jwt, String purpose) {
        @Override
        public String toString() {
            return "Said";
        }
    }

    static <R extends Revealed> View<R> of(
            Engine engine, Said said, OnUnavailable<R> policy, Duration deadline, int attempts) {
        Context context = Context.of(said.namespace, said.session, said.jwt, said.purpose);
        return new View<>(engine, said, context, policy, deadline, attempts);
    }

    View<R> saying(Said other) {
        return of(engine, other, policy, deadline, retryAttempts);
    }

    View<R> namespace(String namespace) {
        return saying(new Said(Objects.requireNonNull(namespace), said.session, said.jwt, said.purpose));
    }

    View<R> purpose(String purpose) {
        return saying(new Said(said.namespace, said.session, said.jwt, Objects.requireNonNull(purpose)));
    }

    View<R> session(String session, String jwt) {
        return saying(
                new Said(said.namespace, Objects.requireNonNull(session), jwt == null ? said.jwt : jwt, said.purpose));
    }

    View<R> deadline(Duration time) {
        return new View<>(engine, said, context, policy, Times.checked("deadline", time), retryAttempts);
    }

    <C extends Revealed> View<C> policy(OnUnavailable<C> other) {
        return new View<>(engine, said, context, Objects.requireNonNull(other), deadline, retryAttempts);
    }

    /** A call that shows something else instead does not wait for better times. */
    long deadlineMs(boolean reads) {
        if (deadline != null) {
            return deadline.toMillis();
        }
        return (reads && policy.stands() ? Limits.DISPLAY_DEADLINE : Limits.DEADLINE).toMillis();
    }

    int attempts(boolean reads) {
        if (retryAttempts > 0) {
            return retryAttempts;
        }
        return reads && policy.stands() ? 1 : Limits.ATTEMPTS;
    }

    /** Nothing that prints it shows a session or a JWT. */
    @Override
    public String toString() {
        return "policy " + policy;
    }
}
