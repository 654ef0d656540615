package io.lunasec.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.UnknownFieldSet;
import io.grpc.Status.Code;
import io.lunasec.client.LunaSecException.DeadlineExceeded;
import io.lunasec.client.LunaSecException.KeysUnavailable;
import io.lunasec.client.LunaSecException.ProtocolError;
import io.lunasec.client.LunaSecException.StorageUnavailable;
import io.lunasec.client.LunaSecException.Unavailable;
import io.lunasec.client.internal.wire.Dependency;
import io.lunasec.client.internal.wire.DetokenizeResponse;
import io.lunasec.client.internal.wire.GetStatusResponse;
import io.lunasec.client.internal.wire.Refusal;
import io.lunasec.client.internal.wire.VerifyGrantsItem;
import io.lunasec.client.internal.wire.VerifyGrantsResponse;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What is tried again and what is not; sidecars that are newer or older than this client. */
class RetriesTest {
    private static final Token TOKEN = Token.of("lunasec-1");
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

    @Test
    void whatIsRetryableIsTriedAgainUnderOneKey() {
        AtomicInteger calls = new AtomicInteger();
        sidecar.tokenize = request -> {
            if (calls.incrementAndGet() < 3) {
                throw FakeSidecar.problem(Code.UNAVAILABLE, "storage_unavailable", true);
            }
            return FakeSidecar.token("lunasec-2");
        };
        assertEquals(Token.of("lunasec-2"), client.tokenize("v").token());
        List<String> keys = sidecar.headers.stream()
                .map(headers -> FakeSidecar.header(headers, "idempotency-key"))
                .toList();
        assertEquals(3, keys.size());
        assertEquals(1, keys.stream().distinct().count());
        client.tokenize("v");
        assertTrue(!keys.contains(FakeSidecar.header(sidecar.headers.get(3), "idempotency-key")));
    }

    @Test
    void attemptsAreBoundedAndTheLastErrorIsTold() {
        sidecar.detokenize = request -> {
            throw FakeSidecar.problem(
                    Code.UNAVAILABLE, sidecar.asked.size() < 3 ? "overloaded" : "keys_unavailable", true);
        };
        KeysUnavailable error = assertThrows(KeysUnavailable.class, () -> client.detokenize(TOKEN));
        assertEquals(503, error.status().orElseThrow());
        assertEquals("words", error.detail());
        assertEquals(3, sidecar.asked.size());
    }

    @Test
    void theBudgetIsSharedByAllViews() {
        client.close();
        client = sidecar.client()
                .retry(RetryOptions.defaults().budget(2).pause(Duration.ofMillis(1)))
                .build();
        sidecar.detokenize = request -> {
            throw FakeSidecar.problem(Code.UNAVAILABLE, "overloaded", true);
        };
        for (int at = 0; at < 4; at++) {
            LunaSec<Value> view = client.withPurpose("p" + at);
            assertThrows(Unavailable.class, () -> view.detokenize(TOKEN));
        }
        assertEquals(4 + 2, sidecar.asked.size());
    }

    @Test
    void theDeadlineEndsWhatHangsAndSaysWhatWasWrongBefore() {
        CountDownLatch hang = new CountDownLatch(1);
        AtomicInteger calls = new AtomicInteger();
        sidecar.detokenize = request -> {
            if (calls.incrementAndGet() == 1) {
                throw FakeSidecar.problem(Code.UNAVAILABLE, "storage_unavailable", true);
            }
            await(hang);
            return FakeSidecar.value(request.getToken());
        };
        LunaSec<Value> hasty = client.withDeadline(Duration.ofMillis(300));
        assertThrows(StorageUnavailable.class, () -> hasty.detokenize(TOKEN));
        DeadlineExceeded late = assertThrows(DeadlineExceeded.class, () -> hasty.detokenize(TOKEN));
        assertTrue(late.retryable() && late.detail().contains("300 ms"), late.detail());
        Revealed masked = hasty.onUnavailable(OnUnavailable.mask()).detokenize(TOKEN);
        assertEquals("deadline_exceeded", assertInstanceOf(Masked.class, masked).reason());
        hang.countDown();
    }

    private static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    @Test
    void aSetWithAVersionIsTriedAgainOnlyWhereItWasNotDone() {
        sidecar.setMetadata = request -> {
            throw FakeSidecar.problem(Code.UNAVAILABLE, "storage_unavailable", true);
        };
        assertThrows(StorageUnavailable.class, () -> client.setMetadata(TOKEN, "{}", 1));
        assertEquals(1, sidecar.asked.size());
        sidecar.setMetadata = request -> {
            throw FakeSidecar.problem(Code.UNAVAILABLE, "overloaded", true);
        };
        assertThrows(Unavailable.class, () -> client.setMetadata(TOKEN, "{}", 1));
        assertEquals(1 + 3, sidecar.asked.size());
    }

    @Test
    void codesOfANewerSidecarAreToldAsTheyAre() {
        sidecar.detokenize = request -> {
            throw FakeSidecar.problem(Code.UNAVAILABLE, "asleep", true);
        };
        LunaSec<Revealed> masking = client.onUnavailable(OnUnavailable.mask());
        assertEquals(
                "asleep",
                assertInstanceOf(Masked.class, masking.detokenize(TOKEN)).reason());
        sidecar.detokenize = request -> {
            throw FakeSidecar.problem(Code.PERMISSION_DENIED, "turned_away", false);
        };
        LunaSecException refused = assertThrows(LunaSecException.class, () -> masking.detokenize(TOKEN));
        assertSame(LunaSecException.class, refused.getClass());
        assertEquals("turned_away", refused.code());
        assertEquals(403, refused.status().orElseThrow());
    }

    @Test
    void fieldsAndWordsOfANewerSidecarAreLetPass() {
        UnknownFieldSet newer = UnknownFieldSet.newBuilder()
                .addField(99, UnknownFieldSet.Field.newBuilder().addVarint(7).build())
                .build();
        sidecar.detokenize = request ->
                FakeSidecar.value("x").toBuilder().setUnknownFields(newer).build();
        assertEquals("value of x", client.detokenize(TOKEN).reveal());
        sidecar.verify = request -> VerifyGrantsResponse.newBuilder()
                .addItems(VerifyGrantsItem.newBuilder().setToken(TOKEN.expose()).setRefusalValue(77))
                .build();
        Verdict verdict = client.forSession("alice").verify(List.of(TOKEN)).get(0);
        assertEquals("refused", assertInstanceOf(Invalid.class, verdict).reason());
        sidecar.status = request -> GetStatusResponse.newBuilder()
                .setVersion("9")
                .setStorage(Dependency.newBuilder().setStateValue(42).setSince("2026-01-01T00:00:00Z"))
                .build();
        Status status = client.status();
        assertSame(Status.State.UNKNOWN, status.dependencies().get("storage").state());
        assertTrue(status.degraded());
    }

    @Test
    void whatAnOlderSidecarDoesNotSayIsNotMissed() {
        sidecar.status =
                request -> GetStatusResponse.newBuilder().setVersion("0.0.1").build();
        Status status = client.status();
        assertEquals("0.0.1", status.version());
        assertTrue(status.dependencies().isEmpty());
        assertEquals(0, status.journal().pending());
        assertTrue(client.detokenize(TOKEN).staleness().isEmpty());
    }

    @Test
    void anAnswerThatIsNoneIsAProtocolErrorAndNotTriedAgain() {
        sidecar.detokenize = request -> DetokenizeResponse.getDefaultInstance();
        assertThrows(ProtocolError.class, () -> client.detokenize(TOKEN));
        sidecar.detokenize = request -> {
            throw Code.UNAVAILABLE.toStatus().withDescription("4111 1111").asRuntimeException();
        };
        ProtocolError error = assertThrows(ProtocolError.class, () -> client.detokenize(TOKEN));
        assertTrue(!error.detail().contains("4111"), error.detail());
        sidecar.verify = request -> VerifyGrantsResponse.newBuilder()
                .addItems(
                        VerifyGrantsItem.newBuilder().setToken(TOKEN.expose()).setRefusal(Refusal.REFUSAL_UNSPECIFIED))
                .build();
        assertThrows(ProtocolError.class, () -> client.forSession("alice").verify(List.of(TOKEN)));
        assertEquals(3, sidecar.asked.size());
    }

    @Test
    void anAnswerThatIsTooLargeIsNotReadToItsEnd() {
        String large = "x".repeat(17 * 1024 * 1024);
        sidecar.detokenize = request -> FakeSidecar.value(large);
        ProtocolError error = assertThrows(ProtocolError.class, () -> client.detokenize(TOKEN));
        assertTrue(error.detail().contains("larger than the contract allows"), error.detail());
        sidecar.detokenize = request -> FakeSidecar.value("y".repeat(15 * 1024 * 1024));
        assertEquals(
                15 * 1024 * 1024 + "value of ".length(),
                client.detokenize(TOKEN).reveal().length());
    }

    @Test
    void aClosedClientSaysSoWhateverThePolicy() {
        client.detokenize(TOKEN);
        LunaSec<Revealed> masking = client.onUnavailable(OnUnavailable.mask());
        client.close();
        client.close();
        var error = assertThrows(LunaSecException.SidecarUnreachable.class, () -> masking.detokenize(TOKEN));
        assertTrue(error.closed() && !error.retryable(), error.detail());
    }

    @Test
    void closingEndsWhatIsUnderWay() throws Exception {
        CountDownLatch arrived = new CountDownLatch(1);
        CountDownLatch hang = new CountDownLatch(1);
        sidecar.detokenize = request -> {
            arrived.countDown();
            await(hang);
            return FakeSidecar.value("x");
        };
        var future = client.async().detokenize(TOKEN);
        arrived.await();
        client.close();
        Exception error = assertThrows(Exception.class, future::get);
        assertInstanceOf(LunaSecException.SidecarUnreachable.class, error.getCause());
        hang.countDown();
    }
}
