package io.lunasec.client;

import java.util.concurrent.CompletableFuture;

/** The client with futures: {@link LunaSec#async()}. */
public final class AsyncLunaSec<R extends Revealed> extends AsyncTokenizer<R> {
    AsyncLunaSec(Calls<R> calls) {
        super(calls);
    }

    /** What the sidecar says of itself and of what it needs. */
    public CompletableFuture<Status> status() {
        return calls.status().future();
    }
}
