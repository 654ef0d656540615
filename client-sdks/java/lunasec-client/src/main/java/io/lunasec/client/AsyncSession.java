package io.lunasec.client;

import java.util.List;
import java.util.concurrent.CompletableFuture;

/** A session with futures: {@link LunaSecSession#async()}. */
public final class AsyncSession<R extends Revealed> extends AsyncTokenizer<R> {
    AsyncSession(Calls<R> calls) {
        super(calls);
    }

    /** Lets the session reveal 1 to 1,000 tokens and read their metadata, for a time. No policy stands in for it. */
    public CompletableFuture<List<GrantedItem>> grant(List<Token> tokens) {
        return calls.grant(tokens, GrantOptions.defaults()).future();
    }

    /** The same, for as long and for what the options say. */
    public CompletableFuture<List<GrantedItem>> grant(List<Token> tokens, GrantOptions options) {
        return calls.grant(tokens, options).future();
    }

    /** Asks whether the session may reveal 1 to 1,000 tokens. No policy stands in for it: where nobody knows, items are {@link Failed} or the call
     * fails, and neither is a yes. */
    public CompletableFuture<List<Verdict>> verify(List<Token> tokens) {
        return calls.verify(tokens, null).future();
    }

    /** The same, for another action. */
    public CompletableFuture<List<Verdict>> verify(List<Token> tokens, Action action) {
        return calls.verify(tokens, java.util.Objects.requireNonNull(action)).future();
    }

    /** Takes back all that the session was granted for 1 to 1,000 tokens. */
    public CompletableFuture<Revoked> revoke(List<Token> tokens) {
        return calls.revoke(tokens).future();
    }

    /** Takes back all that the session was granted: for a logout. */
    public CompletableFuture<Revoked> revokeAll() {
        return calls.revokeAll().future();
    }
}
