package io.lunasec.client;

import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.BiFunction;

/**
 * A call under way, for whoever waits in their own thread and for whoever gets a future.
 *
 * @param call under way
 * @param ending from what it came to, one of the two, to what its caller gets; runs in the caller's thread or in the executor
 */
record Pending<T, U>(Engine engine, Call<T> call, BiFunction<T, RuntimeException, U> ending) {
    static <T> Pending<T, T> of(Engine engine, Call<T> call) {
        return new Pending<>(engine, call, Pending::orThrow);
    }

    static <T> T orThrow(T value, RuntimeException error) {
        if (error != null) {
            throw error;
        }
        return value;
    }

    <V> Pending<T, V> then(java.util.function.Function<U, V> next) {
        return new Pending<>(engine, call, (value, error) -> next.apply(ending.apply(value, error)));
    }

    U await() {
        T value;
        try {
            value = call.await();
        } catch (CancellationException left) {
            throw left;
        } catch (RuntimeException error) {
            return ending.apply(null, error);
        }
        return ending.apply(value, null);
    }

    /** Where it is not over, nobody waits for it any more. */
    void leave() {
        call.leave(new CancellationException("the call was given up"));
    }

    /** Cancelling it gives the call up. What is chained to it never runs in the client's own thread. */
    CompletableFuture<U> future() {
        CompletableFuture<U> future = new CompletableFuture<>();
        Runnable untime = timed();
        call.result().whenComplete((value, error) -> {
            untime.run();
            hand(() -> complete(future, value, error));
        });
        future.whenComplete((value, error) -> {
            if (future.isCancelled()) {
                call.leave(new CancellationException("the call was cancelled"));
            }
        });
        return future;
    }

    /** To the executor; to the default one where that refuses it, throws whatever it likes, or would have it run in the client's thread. */
    private void hand(Runnable complete) {
        AtomicBoolean taken = new AtomicBoolean();
        Runnable once = () -> {
            if (taken.compareAndSet(false, true)) {
                complete.run();
            }
        };
        try {
            engine.executor().execute(() -> {
                if (engine.loop().inEventLoop()) {
                    elsewhere(once);
                } else {
                    once.run();
                }
            });
        } catch (Throwable theirs) {
            elsewhere(once);
        }
    }

    private static void elsewhere(Runnable complete) {
        new CompletableFuture<>().defaultExecutor().execute(complete);
    }

    /** Ends the call at its deadline; gives what takes that back. */
    private Runnable timed() {
        if (call.over()) {
            return () -> {};
        }
        try {
            long left = Math.max(0, call.until() - System.nanoTime());
            var timer = engine.loop().schedule(call::late, left, TimeUnit.NANOSECONDS);
            return () -> timer.cancel(false);
        } catch (RejectedExecutionException over) {
            call.reject(Faults.closed());
            return () -> {};
        }
    }

    private void complete(CompletableFuture<U> future, T value, Throwable error) {
        try {
            future.complete(ending.apply(value, error == null ? null : Call.thrown(error)));
        } catch (Throwable thrown) {
            // An Error of a fallback, too: a future that never completes is worse.
            future.completeExceptionally(thrown);
        }
    }
}
