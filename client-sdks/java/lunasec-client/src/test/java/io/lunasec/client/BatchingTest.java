package io.lunasec.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status.Code;
import io.lunasec.client.LunaSecException.InvalidToken;
import io.lunasec.client.LunaSecException.Overloaded;
import io.lunasec.client.LunaSecException.PayloadTooLarge;
import io.lunasec.client.internal.wire.BatchDetokenizeRequest;
import io.lunasec.client.internal.wire.BatchDetokenizeResponse;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Calls that wait at the same time share requests, and nothing else. */
class BatchingTest {
    private FakeSidecar sidecar;
    private LunaSec<Value> client;

    @BeforeEach
    void start() throws Exception {
        sidecar = new FakeSidecar();
        client = sidecar.client().build();
    }

    @AfterEach
    void stop() {
        client.close();
        sidecar.close();
    }

    /** What is called meanwhile waits for the client's thread, and so comes at the same time. */
    private void together(Runnable calls) throws InterruptedException {
        CountDownLatch busy = new CountDownLatch(1);
        CountDownLatch done = new CountDownLatch(1);
        client.view().engine().loop().execute(() -> {
            busy.countDown();
            try {
                done.await();
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            }
        });
        busy.await();
        calls.run();
        done.countDown();
    }

    private static Token token(int number) {
        return Token.of("lunasec-" + number);
    }

    @Test
    void callsAtTheSameTimeShareARequestAndEachGetsItsOwn() throws Exception {
        List<CompletableFuture<Value>> futures = new ArrayList<>();
        together(() -> {
            for (int at = 0; at < 300; at++) {
                futures.add(client.async().detokenize(token(at % 100)));
            }
        });
        for (int at = 0; at < 300; at++) {
            assertEquals("value of lunasec-" + at % 100, futures.get(at).get().reveal());
        }
        assertEquals(1, sidecar.asked.size());
        assertEquals(100, ((BatchDetokenizeRequest) sidecar.asked.get(0)).getTokensCount());
    }

    @Test
    void thoseWhoSayOtherThingsOfThemselvesShareNone() throws Exception {
        List<CompletableFuture<?>> futures = new ArrayList<>();
        together(() -> {
            for (var view : List.of(
                    client.forSession("alice").async(),
                    client.forSession("bob").async(),
                    client.forSession("alice", "a.b.c").async(),
                    client.withPurpose("p").forSession("alice").async(),
                    client.withNamespace("n").forSession("alice").async())) {
                futures.add(view.detokenize(token(1)));
                futures.add(view.detokenize(token(2)));
            }
        });
        for (CompletableFuture<?> each : futures) {
            each.get();
        }
        assertEquals(5, sidecar.asked.size());
    }

    @Test
    void batchesAreBoundedByItemsAndBytes() throws Exception {
        List<CompletableFuture<?>> futures = new ArrayList<>();
        together(() -> {
            for (int at = 0; at < 1_500; at++) {
                futures.add(client.async().detokenize(token(at)));
            }
        });
        for (CompletableFuture<?> each : futures) {
            each.get();
        }
        assertEquals(
                List.of(500, 1_000),
                sidecar.asked.stream()
                        .map(each -> ((BatchDetokenizeRequest) each).getTokensCount())
                        .sorted()
                        .toList());
        sidecar.asked.clear();
        futures.clear();
        String long4k = "x".repeat(4_000);
        together(() -> {
            for (int at = 0; at < 200; at++) {
                futures.add(client.async().detokenize(Token.of(long4k + at)));
            }
        });
        for (CompletableFuture<?> each : futures) {
            each.get();
        }
        assertTrue(sidecar.asked.size() > 1, "more than 1 MiB in one request");
    }

    @Test
    void eachCallIsARequestWhereThatIsSaid() throws Exception {
        client.close();
        client = sidecar.client().batchItems(1).build();
        List<CompletableFuture<?>> futures = new ArrayList<>();
        together(() -> {
            for (int at = 0; at < 20; at++) {
                futures.add(client.async().detokenize(token(1)));
            }
        });
        for (CompletableFuture<?> each : futures) {
            each.get();
        }
        assertEquals(20, sidecar.asked.size());
    }

    @Test
    void aBadItemFailsNobodyElse() throws Exception {
        sidecar.detokenizes = request -> {
            BatchDetokenizeResponse.Builder answer = BatchDetokenizeResponse.newBuilder();
            FakeSidecar.values(request).getItemsList().forEach(item -> {
                boolean bad = item.getToken().equals("lunasec-3");
                answer.addItems(bad ? FakeSidecar.failed(item.getToken(), "invalid_token", false) : item);
            });
            return answer.build();
        };
        outcomes(7, InvalidToken.class);
        assertEquals(1, sidecar.asked.size());
    }

    @Test
    void whatIsRefusedAsAWholeIsSoughtInHalves() throws Exception {
        sidecar.detokenizes = request -> {
            if (request.getTokensList().contains("lunasec-3")) {
                throw FakeSidecar.problem(Code.RESOURCE_EXHAUSTED, "payload_too_large", false);
            }
            return FakeSidecar.values(request);
        };
        sidecar.detokenize = request -> {
            if (request.getToken().equals("lunasec-3")) {
                throw FakeSidecar.problem(Code.RESOURCE_EXHAUSTED, "payload_too_large", false);
            }
            return FakeSidecar.value(request.getToken());
        };
        outcomes(16, PayloadTooLarge.class);
        assertTrue(sidecar.asked.size() < 12, "asked " + sidecar.asked.size() + " times");
    }

    @Test
    void whoFoundNoRoomBecauseOfOthersGoesAgain() throws Exception {
        sidecar.detokenizes = request -> {
            BatchDetokenizeResponse.Builder answer = BatchDetokenizeResponse.newBuilder();
            for (int at = 0; at < request.getTokensCount(); at++) {
                String token = request.getTokens(at);
                answer.addItems(
                        at < 2
                                ? FakeSidecar.values(request).getItems(at)
                                : FakeSidecar.failed(token, "payload_too_large", false));
            }
            return answer.build();
        };
        List<CompletableFuture<Value>> futures = new ArrayList<>();
        together(() -> {
            for (int at = 0; at < 5; at++) {
                futures.add(client.async().detokenize(token(at)));
            }
        });
        for (int at = 0; at < 5; at++) {
            assertEquals("value of lunasec-" + at, futures.get(at).get().reveal());
        }
        assertEquals(3, sidecar.asked.size());
    }

    private void outcomes(int calls, Class<?> error) throws Exception {
        List<CompletableFuture<Value>> futures = new ArrayList<>();
        together(() -> {
            for (int at = 0; at < calls; at++) {
                futures.add(client.async().detokenize(token(at)));
            }
        });
        for (int at = 0; at < calls; at++) {
            CompletableFuture<Value> future = futures.get(at);
            if (at == 3) {
                assertInstanceOf(
                        error,
                        assertThrows(CompletionException.class, future::join).getCause());
            } else {
                assertEquals("value of lunasec-" + at, future.get().reveal());
            }
        }
    }

    @Test
    void itemsThatAreNoValuesFailAloneAndAreNotSent() {
        sidecar.tokenizes = request -> {
            var answer = io.lunasec.client.internal.wire.BatchTokenizeResponse.newBuilder();
            request.getItemsList()
                    .forEach(item -> answer.addItems(io.lunasec.client.internal.wire.TokenizeItem.newBuilder()
                            .setTokenized(FakeSidecar.token(
                                    "lunasec-" + item.getValue().toStringUtf8()))));
            return answer.build();
        };
        List<TokenizedItem> items =
                client.tokenizeBatch(List.of(TokenizeItem.of("a"), TokenizeItem.of(Limits.MASK), TokenizeItem.of("b")));
        assertEquals(Token.of("lunasec-a"), ((Tokenized) items.get(0)).token());
        assertEquals(
                "invalid_request",
                assertInstanceOf(Failed.class, items.get(1)).error().code());
        assertEquals(Token.of("lunasec-b"), ((Tokenized) items.get(2)).token());
    }

    /** The sidecar says no to an empty list: it must be asked. */
    @Test
    void anEmptyListIsAskedFor() {
        assertEquals(
                List.of(), client.withDeadline(java.time.Duration.ofSeconds(5)).detokenizeBatch(List.of()));
        assertEquals(
                List.of(), client.withDeadline(java.time.Duration.ofSeconds(5)).tokenizeBatch(List.of()));
        assertEquals(2, sidecar.asked.size());
    }

    @Test
    void aFallbackThatThrowsFailsItsItemAlone() {
        sidecar.detokenizes = request -> BatchDetokenizeResponse.newBuilder()
                .addItems(FakeSidecar.values(request).getItems(0))
                .addItems(FakeSidecar.failed(request.getTokens(1), "storage_unavailable", true))
                .build();
        IllegalStateException theirs = new IllegalStateException("theirs");
        List<RevealedItem> items = client.onUnavailable(OnUnavailable.fallback((token, error) -> {
                    throw theirs;
                }))
                .detokenizeBatch(List.of(token(1), token(2)));
        assertInstanceOf(Value.class, items.get(0));
        Failed failed = assertInstanceOf(Failed.class, items.get(1));
        assertEquals(theirs, failed.error().getCause());
        assertEquals("storage_unavailable", failed.error().code());
    }

    @Test
    void tooManyCallsAreRefusedAndPlacesAreGivenBack() throws Exception {
        client.close();
        client = sidecar.client().pendingCalls(10).build();
        List<CompletableFuture<Value>> futures = new ArrayList<>();
        together(() -> {
            for (int at = 0; at < 12; at++) {
                futures.add(client.async().detokenize(token(at)));
            }
        });
        for (int at = 0; at < 10; at++) {
            futures.get(at).get();
        }
        overloaded(futures.get(10));
        overloaded(futures.get(11));
        assertEquals("value of lunasec-1", client.detokenize(token(1)).reveal());
    }

    private static void overloaded(CompletableFuture<?> future) {
        assertInstanceOf(
                Overloaded.class,
                assertThrows(CompletionException.class, future::join).getCause());
    }

    @Test
    void whereNoPlaceIsLeftAPolicyStandsInAndFuturesFailAsTheyDo() throws Exception {
        client.close();
        client = sidecar.client().pendingCalls(1).build();
        together(() -> {
            client.async().detokenize(token(1));
            AsyncSession<Value> alice = client.forSession("alice").async();
            List<Token> two = List.of(token(2));
            List.of(
                            alice.tokenize("v"),
                            alice.tokenize("v", TokenizeOptions.none().idempotencyKey("k")),
                            alice.tokenizeBatch(List.of(TokenizeItem.of("v"))),
                            alice.detokenize(token(2)),
                            alice.detokenizeBatch(two),
                            alice.getMetadata(token(2)),
                            alice.setMetadata(token(2), "{}"),
                            alice.delete(two),
                            alice.grant(two),
                            alice.verify(two),
                            alice.revoke(two),
                            alice.revokeAll(),
                            client.async().status())
                    .forEach(BatchingTest::overloaded);
            assertThrows(Overloaded.class, () -> client.detokenize(token(2)));
            LunaSec<Revealed> pages = client.onUnavailable(OnUnavailable.mask());
            assertInstanceOf(Masked.class, pages.detokenize(token(2)));
            assertInstanceOf(Masked.class, pages.async().detokenize(token(2)).join());
            assertInstanceOf(Masked.class, pages.detokenizeBatch(two).get(0));
            assertInstanceOf(Masked.class, pages.detokenizeAll(two).get(0));
        });
    }

    @Test
    void anEmptyListIsRefusedAlsoBesideOthers() throws Exception {
        sidecar.verify = request -> {
            if (request.getTokensCount() == 0) {
                throw FakeSidecar.problem(Code.INVALID_ARGUMENT, "invalid_request", false);
            }
            return io.lunasec.client.internal.wire.VerifyGrantsResponse.newBuilder()
                    .addItems(io.lunasec.client.internal.wire.VerifyGrantsItem.newBuilder()
                            .setToken(request.getTokens(0))
                            .setRefusal(io.lunasec.client.internal.wire.Refusal.REFUSAL_DENIED))
                    .build();
        };
        AsyncSession<Value> alice = client.forSession("alice").async();
        List<CompletableFuture<List<Verdict>>> futures = new ArrayList<>();
        together(() -> {
            futures.add(alice.verify(List.of()));
            futures.add(alice.verify(List.of(token(1))));
        });
        assertInstanceOf(
                LunaSecException.InvalidRequest.class,
                assertThrows(CompletionException.class, futures.get(0)::join).getCause());
        assertInstanceOf(Invalid.class, futures.get(1).get().get(0));
    }

    /** What is lacking on the class path is an Error. */
    @Test
    void anErrorFailsItsOwnCallsOnlyAndAtOnce() throws Exception {
        View<Value> view = client.view();
        Engine engine = view.engine();
        Common<Value> lacking = new Common<>(new Lacking(), view.context(), 1, false, null);
        Call<Object> single = engine.call(5_000, null, false);
        List<CompletableFuture<?>> futures = new ArrayList<>();
        together(() -> {
            futures.add(Pending.of(engine, engine.batcher().submit(lacking, List.of(Unit.of(token(2))), view, true))
                    .future());
            engine.run(() -> new Lacking().operation(), single);
            futures.add(Pending.of(engine, single).future());
            futures.add(client.async().detokenize(token(1)));
        });
        futures.get(2).get(5, TimeUnit.SECONDS);
        for (CompletableFuture<?> each : futures.subList(0, 2)) {
            Throwable error = assertThrows(ExecutionException.class, () -> each.get(5, TimeUnit.SECONDS));
            assertInstanceOf(LinkageError.class, error.getCause().getCause());
        }
    }

    private record Lacking() implements ListOperation<Value> {
        @Override
        public String operation() {
            throw new NoClassDefFoundError("theirs");
        }

        @Override
        public int bytes() {
            return Limits.TOKEN_LIST_BYTES;
        }

        @Override
        public Route<?, List<Outcome<Value>>> batch(List<Unit> units) {
            throw new NoClassDefFoundError("theirs");
        }
    }

    @Test
    void oneSessionLeavesPlacesToTheOthers() {
        Places places = new Places(10);
        List<Runnable> alice = new ArrayList<>();
        for (int at = 0; at < 5; at++) {
            alice.add(places.take("alice", false));
        }
        assertThrows(Overloaded.class, () -> places.take("alice", false));
        places.take("bob", true);
        assertThrows(Overloaded.class, () -> places.take("bob", true));
        alice.get(0).run();
        places.take("alice", false);
        for (int at = 0; at < 4; at++) {
            places.take(null, false);
        }
        assertThrows(Overloaded.class, () -> places.take(null, false));
    }
}
