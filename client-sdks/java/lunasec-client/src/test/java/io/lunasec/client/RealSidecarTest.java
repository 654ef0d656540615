package io.lunasec.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.lunasec.client.LunaSecException.SidecarUnreachable;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Against the release binary: restarts, outages, many callers. */
@Timeout(60)
class RealSidecarTest {
    private static LunaSecBuilder<Value> client(Sidecar sidecar) {
        return LunaSec.builder().socket(sidecar.socket()).telemetry(null);
    }

    @Test
    void aRestartAndAKillDoNotSurface() {
        try (Sidecar sidecar = Sidecar.started();
                LunaSec<Value> lunasec = client(sidecar).build()) {
            Token token = lunasec.tokenize("4111 1111").token();
            sidecar.stop();
            sidecar.launch();
            assertEquals("4111 1111", lunasec.detokenize(token).reveal());
            sidecar.kill();
            sidecar.launch();
            assertEquals("4111 1111", lunasec.detokenize(token).reveal());
            assertInstanceOf(Tokenized.class, lunasec.tokenize("4222"));
        }
    }

    @Test
    void callsUnderWayDoNotNoticeAKill() throws Exception {
        try (Sidecar sidecar = Sidecar.started();
                LunaSec<Value> lunasec = client(sidecar)
                        .deadline(Duration.ofSeconds(50))
                        .restartGrace(Duration.ofSeconds(30))
                        .build()) {
            Token token = lunasec.tokenize("4111 1111").token();
            AtomicBoolean over = new AtomicBoolean();
            ExecutorService threads = Executors.newFixedThreadPool(16);
            List<Future<Integer>> callers = new ArrayList<>();
            for (int at = 0; at < 16; at++) {
                callers.add(threads.submit(() -> {
                    int calls = 0;
                    while (!over.get()) {
                        assertEquals("4111 1111", lunasec.detokenize(token).reveal());
                        calls++;
                    }
                    return calls;
                }));
            }
            for (int at = 0; at < 3; at++) {
                sidecar.kill();
                sidecar.start();
                lunasec.ready();
            }
            over.set(true);
            for (Future<Integer> each : callers) {
                assertTrue(each.get() > 0);
            }
            threads.shutdown();
        }
    }

    @Test
    void aDeadSidecarIsWaitedForOnceAndThenFailsFast() {
        try (Sidecar sidecar = Sidecar.started();
                LunaSec<Value> lunasec =
                        client(sidecar).restartGrace(Duration.ofMillis(300)).build()) {
            Token token = lunasec.tokenize("v").token();
            sidecar.kill();
            assertThrows(SidecarUnreachable.class, () -> lunasec.detokenize(token));
            long before = System.nanoTime();
            for (int at = 0; at < 200; at++) {
                SidecarUnreachable error = assertThrows(SidecarUnreachable.class, () -> lunasec.detokenize(token));
                assertTrue(error.retryable() && !error.sent() && error.detail().contains("start one"), error.detail());
            }
            assertTrue(System.nanoTime() - before < TimeUnit.SECONDS.toNanos(20), "calls wait for who is gone");
            Masked masked = assertInstanceOf(
                    Masked.class,
                    lunasec.onUnavailable(OnUnavailable.mask("n/a")).detokenize(token));
            assertEquals("n/a", masked.text());
            assertEquals("sidecar_unreachable", masked.reason());
            sidecar.start();
            assertEquals("v", lunasec.detokenize(token).reveal());
        }
    }

    @Test
    void aSidecarThatStartsLateIsWaitedFor() throws Exception {
        try (Sidecar sidecar = Sidecar.stopped();
                LunaSec<Value> lunasec = client(sidecar)
                        .startDeadline(Duration.ofSeconds(40))
                        .deadline(Duration.ofSeconds(50))
                        .build()) {
            var token = lunasec.async().tokenize("v");
            assertThrows(java.util.concurrent.TimeoutException.class, () -> token.get(100, TimeUnit.MILLISECONDS));
            sidecar.start();
            assertEquals("v", lunasec.detokenize(token.get().token()).reveal());
        }
    }

    @Test
    void oneThatNeverStartsIsNotWaitedForLongerThanIsSaid() {
        try (Sidecar sidecar = Sidecar.stopped();
                LunaSec<Value> lunasec =
                        client(sidecar).startDeadline(Duration.ofMillis(100)).build()) {
            assertThrows(SidecarUnreachable.class, lunasec::ready);
        }
    }

    /** Whoever waits for another attempt is not left to a thread that is gone. */
    @Test
    void closingEndsWhoeverWaitsForTheSidecar() throws Exception {
        try (Sidecar sidecar = Sidecar.stopped()) {
            LunaSec<Value> lunasec = client(sidecar).build();
            CompletableFuture<Status> waiting = lunasec.async().status();
            CompletableFuture<Tokenized> other = lunasec.async().tokenize("v");
            assertThrows(java.util.concurrent.TimeoutException.class, () -> waiting.get(50, TimeUnit.MILLISECONDS));
            lunasec.close();
            for (CompletableFuture<?> each : List.of(waiting, other)) {
                Exception error = assertThrows(Exception.class, () -> each.get(5, TimeUnit.SECONDS));
                assertInstanceOf(SidecarUnreachable.class, error.getCause());
            }
        }
    }

    @Test
    void aSocketThatMayNotBeUsedIsNotWaitedFor() throws Exception {
        java.nio.file.Path file = java.nio.file.Files.createTempFile("lunasec", ".sock");
        try (LunaSec<Value> lunasec = LunaSec.builder()
                .socket(file + "/s.sock")
                .telemetry(null)
                .startDeadline(Duration.ofMillis(50))
                .build()) {
            assertThrows(SidecarUnreachable.class, lunasec::ready);
        } finally {
            java.nio.file.Files.delete(file);
        }
    }

    @Test
    void amongHundredsOfThreadsEachGetsItsOwn() throws Exception {
        try (Sidecar sidecar = Sidecar.started();
                LunaSec<Value> lunasec = client(sidecar).build()) {
            everybodyGetsTheirOwn(lunasec, Executors.newFixedThreadPool(300), 300, 3);
        }
    }

    /** The sidecar ends a connection on which too many requests are taken back: others share it. */
    @Test
    void hundredsThatGiveUpAtOnceFailNobodyElse() throws Exception {
        try (Sidecar sidecar = Sidecar.started();
                LunaSec<Value> lunasec = client(sidecar)
                        .connections(1)
                        .batchItems(1)
                        .retry(RetryOptions.defaults().budget(0))
                        .build()) {
            Token token = lunasec.tokenize("v").token();
            for (int round = 0; round < 20; round++) {
                List<CompletableFuture<Value>> futures = new ArrayList<>();
                for (int at = 0; at < 400; at++) {
                    futures.add(lunasec.async().detokenize(token));
                }
                for (int at = 0; at < 400; at++) {
                    if (at % 10 != 0) {
                        futures.get(at).cancel(true);
                    }
                }
                for (int at = 0; at < 400; at += 10) {
                    assertEquals("v", futures.get(at).get().reveal());
                }
            }
        }
    }

    /** Tokenizes, grants, reveals: each caller its own value, in its own session. */
    static void everybodyGetsTheirOwn(LunaSec<Value> lunasec, ExecutorService threads, int callers, int times)
            throws Exception {
        List<Callable<Void>> all = new ArrayList<>();
        for (int caller = 0; caller < callers; caller++) {
            String name = "caller " + caller;
            all.add(() -> {
                LunaSecSession<Value> session = lunasec.forSession(name);
                for (int at = 0; at < times; at++) {
                    Token token = session.tokenize(name + " value " + at).token();
                    assertInstanceOf(
                            Granted.class, session.grant(List.of(token)).get(0));
                    assertEquals(
                            name + " value " + at, lunasec.detokenize(token).reveal());
                    assertEquals(
                            name + " value " + at, session.detokenize(token).reveal());
                }
                return null;
            });
        }
        for (Future<Void> each : threads.invokeAll(all)) {
            each.get();
        }
        threads.shutdown();
    }

    @Test
    void nothingOfAValueIsInTheLogOfEither() {
        try (Sidecar sidecar = Sidecar.started();
                LunaSec<Value> lunasec = client(sidecar).build()) {
            Token token = lunasec.tokenize("a very secret value").token();
            lunasec.forSession("session-of-zoë €").verify(List.of(token));
            lunasec.detokenize(token);
            String log = sidecar.log();
            assertFalse(log.contains("a very secret value") || log.contains(token.expose()), log);
            assertFalse(log.contains("session-of"), log);
        }
    }
}
