package io.lunasec.client;

import io.lunasec.client.LunaSecException.Facts;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** A promise to one caller: it ends with its result, its deadline or its caller's leaving, whichever is first. */
final class Call<T> {
    /** Never handed out: what is chained to it would run in the client's own thread. */
    private final CompletableFuture<T> result = new CompletableFuture<>();

    private final long deadlineMs;
    private final long until;
    private final Runnable ended;
    /** What went wrong so far: a better answer than that the time is over. */
    private volatile LunaSecException trouble;

    private volatile Runnable left;

    Call(long deadlineMs, Runnable ended) {
        this.deadlineMs = deadlineMs;
        this.until = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(deadlineMs);
        this.ended = ended;
    }

    /** One that is over before it began. */
    static <T> Call<T> rejected(LunaSecException error) {
        Call<T> call = new Call<>(0, () -> {});
        call.reject(error);
        return call;
    }

    /** Whether nobody waits any more. */
    boolean over() {
        return result.isDone();
    }

    /** When it ends at the latest, by {@link System#nanoTime()}. */
    long until() {
        return until;
    }

    CompletableFuture<T> result() {
        return result;
    }

    void trouble(LunaSecException error) {
        trouble = error;
    }

    /** Is called if the caller leaves before there is a result, or has left already. It may be called twice. */
    void whenLeft(Runnable then) {
        left = then;
        if (over()) {
            then.run();
        }
    }

    void resolve(T value) {
        if (result.complete(value)) {
            ended.run();
        }
    }

    void reject(Throwable error) {
        if (result.completeExceptionally(error)) {
            ended.run();
        }
    }

    void late() {
        LunaSecException why = trouble;
        leave(
                why != null
                        ? why
                        : LunaSecException.of(new Facts(
                                        "deadline_exceeded",
                                        "there was no answer within " + deadlineMs + " ms; a write may have been done")
                                .retryable(true)));
    }

    void leave(Throwable reason) {
        if (result.completeExceptionally(reason)) {
            ended.run();
            Runnable then = left;
            if (then != null) {
                then.run();
            }
        }
    }

    /** Waits in this thread, which may be a virtual one. */
    T await() {
        try {
            return result.get(Math.max(0, until - System.nanoTime()), TimeUnit.NANOSECONDS);
        } catch (TimeoutException late) {
            late();
        } catch (InterruptedException interrupted) {
            leave(new CancellationException("the thread was interrupted while it waited for the sidecar"));
            Thread.currentThread().interrupt();
        } catch (ExecutionException | CancellationException over) {
            // Told below.
        }
        return ended();
    }

    /** What it came to; thrown from here, in the thread of the caller. */
    private T ended() {
        try {
            return result.join();
        } catch (CancellationException given) {
            throw given;
        } catch (java.util.concurrent.CompletionException error) {
            throw thrown(error.getCause());
        }
    }

    static RuntimeException thrown(Throwable error) {
        if (error instanceof LunaSecException known) {
            return known.here();
        }
        return error instanceof RuntimeException other ? other : new IllegalStateException(error);
    }
}
