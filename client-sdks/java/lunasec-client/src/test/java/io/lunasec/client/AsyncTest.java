package io.lunasec.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Futures, cancellation and interruption. */
class AsyncTest {
    private static final Token TOKEN = Token.of("lunasec-1");
    private FakeSidecar sidecar;
    private LunaSec<Value> client;
    private final CountDownLatch arrived = new CountDownLatch(1);
    private final CountDownLatch held = new CountDownLatch(1);

    @BeforeEach
    void start() throws Exception {
        sidecar = new FakeSidecar();
        client = sidecar.client().build();
    }

    @AfterEach
    void stop() {
        held.countDown();
        client.close();
        sidecar.close();
    }

    private void hold() {
        sidecar.detokenize = request -> {
            boolean first = arrived.getCount() > 0;
            arrived.countDown();
            if (first) {
                try {
                    held.await();
                } catch (InterruptedException interrupted) {
                    Thread.currentThread().interrupt();
                }
            }
            return FakeSidecar.value(request.getToken());
        };
    }

    @Test
    void whatIsChainedNeverRunsInTheClientsThread() throws Exception {
        ExecutorService executor = Executors.newSingleThreadExecutor(task -> new Thread(task, "theirs"));
        client.close();
        client = sidecar.client().executor(executor).build();
        String thread = client.async()
                .detokenize(TOKEN)
                .thenApply(value -> {
                    // It may even call again, and wait.
                    client.detokenize(TOKEN);
                    return Thread.currentThread().getName();
                })
                .get();
        assertTrue(
                thread.equals("theirs") || thread.equals(Thread.currentThread().getName()), thread);
        executor.shutdown();
    }

    private static ExecutorService full() {
        ThreadPoolExecutor full =
                new ThreadPoolExecutor(1, 1, 1, TimeUnit.SECONDS, new java.util.concurrent.SynchronousQueue<>());
        full.execute(() -> {
            try {
                Thread.sleep(Long.MAX_VALUE);
            } catch (InterruptedException over) {
                Thread.currentThread().interrupt();
            }
        });
        return full;
    }

    @Test
    void anExecutorThatIsFullOrOverOrThrowsOrIsNoneLosesNoFutureAndTakesNotTheClientsThread() throws Exception {
        ExecutorService full = full();
        ExecutorService over = Executors.newSingleThreadExecutor();
        over.shutdown();
        client.close();
        List<Executor> executors = List.of(
                full,
                over,
                Runnable::run,
                task -> {
                    throw new IllegalStateException("theirs");
                },
                task -> {
                    throw new NoSuchMethodError("theirs");
                },
                task -> {
                    new Thread(task).start();
                    throw new IllegalStateException("theirs");
                });
        for (Executor each : executors) {
            try (LunaSec<Value> one = sidecar.client().executor(each).build()) {
                AtomicInteger fell = new AtomicInteger();
                sidecar.detokenize = request -> FakeSidecar.value(request.getToken());
                String thread = one.async()
                        .detokenize(TOKEN)
                        .thenApply(value -> {
                            one.detokenize(TOKEN);
                            return Thread.currentThread().getName();
                        })
                        .get(10, TimeUnit.SECONDS);
                assertFalse(thread.startsWith("lunasec-client"), thread);
                sidecar.detokenize = request -> {
                    throw FakeSidecar.problem(io.grpc.Status.Code.UNAVAILABLE, "overloaded", true);
                };
                one.onUnavailable(OnUnavailable.fallback((token, error) -> fell.incrementAndGet()))
                        .async()
                        .detokenize(TOKEN)
                        .get(10, TimeUnit.SECONDS);
                assertEquals(1, fell.get());
            }
        }
        full.shutdownNow();
    }

    @Test
    void aFallbackThatThrowsAnErrorEndsItsFutureWithIt() throws Exception {
        sidecar.detokenize = request -> {
            throw FakeSidecar.problem(io.grpc.Status.Code.UNAVAILABLE, "overloaded", true);
        };
        sidecar.detokenizes = request -> {
            throw FakeSidecar.problem(io.grpc.Status.Code.UNAVAILABLE, "overloaded", true);
        };
        AssertionError theirs = new AssertionError("theirs");
        LunaSec<Revealed> falling = client.onUnavailable(OnUnavailable.fallback((token, error) -> {
            throw theirs;
        }));
        CompletableFuture<Revealed> future = falling.async().detokenize(TOKEN);
        Exception ended = assertThrows(ExecutionException.class, () -> future.get(10, TimeUnit.SECONDS));
        assertEquals(theirs, ended.getCause());
        assertEquals(theirs, assertThrows(AssertionError.class, () -> falling.detokenize(TOKEN)));
        List<RevealedItem> items =
                falling.async().detokenizeBatch(List.of(TOKEN)).get(10, TimeUnit.SECONDS);
        assertEquals(theirs, ((Failed) items.get(0)).error().getCause());
    }

    @Test
    void aCallThatIsCancelledIsTakenBack() throws Exception {
        hold();
        CompletableFuture<Value> future = client.async().detokenize(TOKEN);
        arrived.await();
        assertTrue(future.cancel(true));
        assertThrows(CancellationException.class, future::join);
        // Its place and its stream are free again.
        client.view().engine().loop().submit(() -> {}).get();
        held.countDown();
        assertEquals("value of lunasec-1", client.detokenize(TOKEN).reveal());
    }

    @Test
    void aThreadThatIsInterruptedGivesItsCallUpAndStaysInterrupted() throws Exception {
        hold();
        CompletableFuture<Boolean> ended = new CompletableFuture<>();
        Thread caller = new Thread(() -> {
            try {
                client.detokenize(TOKEN);
                ended.complete(false);
            } catch (CancellationException given) {
                ended.complete(Thread.currentThread().isInterrupted());
            }
        });
        caller.start();
        arrived.await();
        caller.interrupt();
        assertTrue(ended.get(10, TimeUnit.SECONDS));
    }

    @Test
    void theDeadlineOfAFutureEndsIt() {
        hold();
        LunaSec<Value> hasty = client.withDeadline(java.time.Duration.ofMillis(100));
        CompletableFuture<Value> future = hasty.async().detokenize(TOKEN);
        Throwable error = assertThrows(Exception.class, () -> future.get(10, TimeUnit.SECONDS));
        assertEquals(LunaSecException.DeadlineExceeded.class, error.getCause().getClass());
    }

    @Test
    void fallbacksOfFuturesRunInTheExecutor() throws Exception {
        ExecutorService executor = Executors.newSingleThreadExecutor(task -> new Thread(task, "theirs"));
        client.close();
        client = sidecar.client().executor(executor).build();
        sidecar.detokenize = request -> {
            throw FakeSidecar.problem(io.grpc.Status.Code.UNAVAILABLE, "overloaded", true);
        };
        Revealed revealed = client.onUnavailable(OnUnavailable.fallback(
                        (token, error) -> Thread.currentThread().getName()))
                .async()
                .detokenize(TOKEN)
                .get();
        assertEquals("theirs", ((Fallback) revealed).value());
        executor.shutdown();
    }

    @Test
    void anExecutorThatIsOverLosesNoAnswer() throws Exception {
        ExecutorService executor = Executors.newSingleThreadExecutor();
        client.close();
        client = sidecar.client().executor(executor).build();
        executor.shutdown();
        assertEquals(
                "value of lunasec-1",
                client.async().detokenize(TOKEN).get(10, TimeUnit.SECONDS).reveal());
    }

    @Test
    void eachOperationHasAFuture() throws Exception {
        try (Sidecar real = Sidecar.started();
                LunaSec<Value> lunasec =
                        LunaSec.builder().socket(real.socket()).telemetry(null).build()) {
            AsyncLunaSec<Value> async = lunasec.async();
            Token token = async.tokenize("v", TokenizeOptions.none().metadata("{\"a\":1}"))
                    .get()
                    .token();
            AsyncSession<Value> session = lunasec.forSession("alice").async();
            assertTrue(session.grant(List.of(token)).get().get(0) instanceof Granted);
            assertTrue(session.verify(List.of(token)).get().get(0) instanceof Valid);
            assertEquals("v", session.detokenize(token).get().reveal());
            assertEquals(1, session.revoke(List.of(token)).get().revoked().orElseThrow());
            assertTrue(session.revokeAll().get().revoked().isEmpty());
            assertEquals("{\"a\":1}", async.getMetadata(token).get().json());
            assertEquals(2, async.setMetadata(token, "{}", 1).get().version());
            assertEquals(3, async.setMetadata(token, "{\"b\":2}").get().version());
            assertTrue(async.detokenizeBatch(List.of(token)).get().get(0) instanceof Value);
            assertTrue(async.tokenizeBatch(List.of(TokenizeItem.of("w"))).get().get(0) instanceof Tokenized);
            assertTrue(async.delete(List.of(token)).get().get(0) instanceof Deleted);
            assertFalse(async.status().get().degraded());
        }
    }
}
