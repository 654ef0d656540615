package io.lunasec.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.lunasec.client.LunaSecException.InvalidRequest;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** What cannot be is refused where it is said. */
class OptionsTest {
    @Test
    void optionsThatCannotBeAreRefusedWhereTheyAreSaid() {
        LunaSecBuilder<Value> builder = LunaSec.builder();
        List<Executable> wrong = List.of(
                () -> builder.socket("/" + "x".repeat(200)),
                () -> builder.socket("a\0b"),
                () -> builder.namespace(""),
                () -> builder.purpose("two\nlines"),
                () -> builder.jwt(" a.b.c"),
                () -> builder.deadline(Duration.ofMillis(-1)),
                () -> builder.startDeadline(Duration.ofDays(25)),
                () -> builder.restartGrace(Duration.ofDays(25)),
                () -> builder.connections(0),
                () -> builder.pendingCalls(0),
                () -> builder.batchItems(0),
                () -> RetryOptions.defaults().attempts(0),
                () -> RetryOptions.defaults().budget(-1),
                () -> RetryOptions.defaults().pause(Duration.ofMillis(-1)),
                () -> TokenizeOptions.none().expiresIn("soon"),
                () -> GrantOptions.defaults().expiresIn("15"));
        for (Executable each : wrong) {
            InvalidRequest refused = assertThrows(InvalidRequest.class, each);
            assertTrue(refused.detail().length() > 20, refused.detail());
        }
        assertThrows(NullPointerException.class, () -> builder.namespace(null));
        assertThrows(NullPointerException.class, () -> builder.onUnavailable(null));
    }

    @Test
    void whatAViewSaysIsRefusedBeforeAnythingIsSent() throws Exception {
        try (FakeSidecar sidecar = new FakeSidecar();
                LunaSec<Value> client = sidecar.client().build()) {
            List<Executable> wrong = List.of(
                    () -> client.forSession(""),
                    () -> client.forSession("alice "),
                    () -> client.forSession("alice\r\nlunasec-namespace: other"),
                    () -> client.forSession("\ud83c"),
                    () -> client.forSession("x".repeat(15_000)),
                    () -> client.withNamespace("\u0007"),
                    () -> client.withDeadline(Duration.ofMillis(-1)),
                    () -> client.tokenize("v", TokenizeOptions.none().idempotencyKey("")),
                    () -> client.tokenize("v", TokenizeOptions.none().expiresIn(Duration.ofSeconds(-1))),
                    () -> client.tokenizeBatch(List.of(TokenizeItem.of("v")), " key"));
            for (Executable each : wrong) {
                assertThrows(InvalidRequest.class, each);
            }
            assertThrows(NullPointerException.class, () -> client.tokenize((String) null));
            assertThrows(NullPointerException.class, () -> client.detokenize(null));
            assertEquals(List.of(), sidecar.asked);
        }
    }

    @Test
    void timesAreSpelledAsInConfigurations() {
        assertEquals(Duration.ofMillis(60_000), Times.parse("t", "60000ms"));
        assertEquals(Duration.ofMinutes(15), Times.parse("t", "15m"));
        assertEquals(Duration.ofDays(36_500), Times.parse("t", "36500d"));
        assertEquals(
                Duration.ofHours(720), TokenizeOptions.none().expiresIn("720h").expiresIn());
        assertEquals(Duration.ofSeconds(5), TokenizeItem.of("v").expiresIn("5s").expiresIn());
    }
}
