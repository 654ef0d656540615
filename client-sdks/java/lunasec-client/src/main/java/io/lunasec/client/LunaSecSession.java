package io.lunasec.client;

import java.time.Duration;
import java.util.List;

/**
 * A client that speaks for one session of one end user: what it grants, verifies and reveals is that session's, so that no two ids can
 * be mixed up. Made by {@link LunaSec#forSession(String)}.
 *
 * @param <R> what its reads give: {@link Value}, or {@link Revealed} where something may stand in for one
 */
public final class LunaSecSession<R extends Revealed> extends Tokenizer<R> {
    LunaSecSession(View<R> view) {
        super(view);
    }

    /** The same, in another namespace. */
    public LunaSecSession<R> withNamespace(String namespace) {
        return new LunaSecSession<>(view().namespace(namespace));
    }

    /** The same, saying what values are for, for the audit record; the policy may ask for it. */
    public LunaSecSession<R> withPurpose(String purpose) {
        return new LunaSecSession<>(view().purpose(purpose));
    }

    /** The same, with this time for each whole call, its retries included. */
    public LunaSecSession<R> withDeadline(Duration deadline) {
        return new LunaSecSession<>(view().deadline(deadline));
    }

    /** The same, with another policy for reads when nobody can answer. */
    public <C extends Revealed> LunaSecSession<C> onUnavailable(OnUnavailable<C> policy) {
        return new LunaSecSession<>(view().policy(policy));
    }

    /** The same, with futures. */
    public AsyncSession<R> async() {
        return new AsyncSession<>(calls);
    }

    /** Lets the session reveal 1 to 1,000 tokens and read their metadata, for a time. No policy stands in for it. */
    public List<GrantedItem> grant(List<Token> tokens) {
        return calls.grant(tokens, GrantOptions.defaults()).await();
    }

    /** The same, for as long and for what the options say. */
    public List<GrantedItem> grant(List<Token> tokens, GrantOptions options) {
        return calls.grant(tokens, options).await();
    }

    /** Asks whether the session may reveal 1 to 1,000 tokens. No policy stands in for it: where nobody knows, items are {@link Failed} or the call
     * fails, and neither is a yes. */
    public List<Verdict> verify(List<Token> tokens) {
        return calls.verify(tokens, null).await();
    }

    /** The same, for another action. */
    public List<Verdict> verify(List<Token> tokens, Action action) {
        return calls.verify(tokens, java.util.Objects.requireNonNull(action)).await();
    }

    /** Takes back all that the session was granted for 1 to 1,000 tokens. */
    public Revoked revoke(List<Token> tokens) {
        return calls.revoke(tokens).await();
    }

    /** Takes back all that the session was granted: for a logout. */
    public Revoked revokeAll() {
        return calls.revokeAll().await();
    }
}
