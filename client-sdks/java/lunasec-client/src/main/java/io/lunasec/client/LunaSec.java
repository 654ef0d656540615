package io.lunasec.client;

import java.time.Duration;

/**
 * The sidecar, from Java.
 *
 * <pre>{@code
 * LunaSec<Value> lunasec = LunaSec.create();
 * Token token = lunasec.tokenize("4111 1111 1111 1111").token();
 * String number = lunasec.detokenize(token).reveal();
 * }</pre>
 *
 * <p>Make one for each process: its connections, retries and batches are shared by all of its views (the {@code with} methods, {@link
 * #onUnavailable}, {@link #forSession(String)}), which cost next to nothing. It connects with the first call, and is safe for any number
 * of threads, virtual ones too.
 *
 * <p>Its policy for reads when nobody can answer is part of its type. With another than {@link OnUnavailable#fail()}, the compiler asks
 * for a look before there is a value.
 *
 * @param <R> what its reads give: {@link Value}, or {@link Revealed} where something may stand in for one
 */
public final class LunaSec<R extends Revealed> extends Tokenizer<R> implements AutoCloseable {
    /** Whether it was built, and is no view of one that was. */
    private final boolean built;

    LunaSec(View<R> view) {
        this(view, false);
    }

    LunaSec(View<R> view, boolean built) {
        super(view);
        this.built = built;
    }

    /** A client with nothing but defaults, at {@code LUNASEC_SOCKET}. */
    public static LunaSec<Value> create() {
        return builder().build();
    }

    /** A client with something otherwise. */
    public static LunaSecBuilder<Value> builder() {
        return new LunaSecBuilder<>(OnUnavailable.fail());
    }

    /** The same, in another namespace. */
    public LunaSec<R> withNamespace(String namespace) {
        return new LunaSec<>(view().namespace(namespace));
    }

    /** The same, saying what values are for, for the audit record; the policy may ask for it. */
    public LunaSec<R> withPurpose(String purpose) {
        return new LunaSec<>(view().purpose(purpose));
    }

    /** The same, with this time for each whole call, its retries included. */
    public LunaSec<R> withDeadline(Duration deadline) {
        return new LunaSec<>(view().deadline(deadline));
    }

    /** The same, with another policy for reads when nobody can answer. */
    public <C extends Revealed> LunaSec<C> onUnavailable(OnUnavailable<C> policy) {
        return new LunaSec<>(view().policy(policy));
    }

    /**
     * The same client, for one session of one of your users: any text of 1 to 1,024 bytes that the application knows the user's session
     * by, without control characters and without a space at either end.
     */
    public LunaSecSession<R> forSession(String session) {
        return new LunaSecSession<>(view().session(session, null));
    }

    /** The same, with the user's JWT, which proves the session where the sidecar has issuers. */
    public LunaSecSession<R> forSession(String session, String jwt) {
        return new LunaSecSession<>(view().session(session, java.util.Objects.requireNonNull(jwt)));
    }

    /** The same, with futures. */
    public AsyncLunaSec<R> async() {
        return new AsyncLunaSec<>(calls);
    }

    /** What the sidecar says of itself and of what it needs. */
    public Status status() {
        return calls.status().await();
    }

    /** Waits until the sidecar answers; throws {@link LunaSecException.SidecarUnreachable} if it does not in time. */
    public void ready() {
        status();
    }

    /**
     * Closes the connections, of all views. Calls under way fail. Only what {@link LunaSecBuilder#build} or {@link #create} gave does
     * so: closing a view of it does nothing, for others go on with the same connections.
     */
    @Override
    public void close() {
        if (built) {
            view().engine().close();
        }
    }
}
