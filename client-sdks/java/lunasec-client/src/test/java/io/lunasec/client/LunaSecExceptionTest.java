package io.lunasec.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.lunasec.client.LunaSecException.AccessDenied;
import io.lunasec.client.LunaSecException.BadRequest;
import io.lunasec.client.LunaSecException.Facts;
import io.lunasec.client.LunaSecException.Gone;
import io.lunasec.client.LunaSecException.SidecarFailed;
import io.lunasec.client.LunaSecException.Unavailable;
import io.netty.handler.codec.http2.DefaultHttp2Headers;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** A class for each code, below what an application does about it. */
class LunaSecExceptionTest {
    private static final Map<String, Class<?>> PARENTS = Map.ofEntries(
            Map.entry("invalid_request", BadRequest.class),
            Map.entry("invalid_token", BadRequest.class),
            Map.entry("invalid_namespace", BadRequest.class),
            Map.entry("payload_too_large", BadRequest.class),
            Map.entry("method_not_allowed", BadRequest.class),
            Map.entry("unsupported_media_type", BadRequest.class),
            Map.entry("unauthenticated", AccessDenied.class),
            Map.entry("forbidden", AccessDenied.class),
            Map.entry("grant_denied", AccessDenied.class),
            Map.entry("grant_expired", AccessDenied.class),
            Map.entry("not_found", Gone.class),
            Map.entry("expired", Gone.class),
            Map.entry("conflict", LunaSecException.class),
            Map.entry("rate_limited", LunaSecException.class),
            Map.entry("sidecar_unreachable", Unavailable.class),
            Map.entry("overloaded", Unavailable.class),
            Map.entry("storage_unavailable", Unavailable.class),
            Map.entry("keys_unavailable", Unavailable.class),
            Map.entry("journal_full", Unavailable.class),
            Map.entry("deadline_exceeded", Unavailable.class),
            Map.entry("corrupted", SidecarFailed.class),
            Map.entry("internal", SidecarFailed.class),
            Map.entry("protocol_error", LunaSecException.class));

    @Test
    void eachCodeHasAClassOfItsName() {
        PARENTS.forEach((code, parent) -> {
            LunaSecException error = LunaSecException.of(code, "words");
            StringBuilder name = new StringBuilder();
            for (String part : code.split("_")) {
                name.append(part.substring(0, 1).toUpperCase()).append(part.substring(1));
            }
            assertEquals(name.toString(), error.getClass().getSimpleName());
            assertSame(parent, error.getClass().getSuperclass(), code);
            assertEquals(code + ": words", error.getMessage());
        });
    }

    @Test
    void aCodeThatIsNewerIsUnavailableOnlyWhereStatusAndSidecarSaySo() {
        assertSame(LunaSecException.class, of("tired", false, 503).getClass());
        assertSame(LunaSecException.class, of("turned_away", true, 403).getClass());
        assertSame(LunaSecException.class, of("asleep", true, 0).getClass());
        assertSame(Unavailable.class, of("asleep", true, 503).getClass());
    }

    private static LunaSecException of(String code, boolean retryable, int status) {
        return LunaSecException.of(new Facts(code, "words").retryable(retryable).answered(status, null, null));
    }

    @Test
    void whatWasSentInsteadOfAWordIsNotRepeated() {
        for (String code : List.of("4111 1111", "a\nb", "A", "x".repeat(65), "lunasec-0f8fad5b")) {
            LunaSecException error = of(code, true, 503);
            assertEquals("unknown", error.code());
            assertSame(Unavailable.class, error.getClass());
            assertEquals("unknown: words", error.getMessage());
        }
        assertEquals("newer_code", of("newer_code", false, 400).code());
    }

    @Test
    void requestIdsAndWhatIsAwayAreRepeatedOnlyInTheirForm() {
        assertEquals("01J-a_b", head("lunasec-request-id", "01J-a_b").requestId());
        for (String id :
                List.of("", "a b", "a:b", "é", "x".repeat(65), "lunasec-0f8fad5b-d9cb-469f-a165-70867728950e")) {
            assertNull(head("lunasec-request-id", id).requestId(), id);
        }
        assertEquals("storage,keys", degraded("storage,keys"));
        assertEquals("unknown", degraded("4111 1111"));
        assertEquals("unknown", degraded("x".repeat(65)));
    }

    private static Head head(String name, String value) {
        return new Head(new DefaultHttp2Headers(false).add(name, value));
    }

    private static String degraded(String said) {
        return head("lunasec-degraded", said).staleness().orElseThrow().degraded();
    }

    @Test
    void whatIsThrownToACallerIsThrownThere() {
        Facts facts = new Facts("rate_limited", "words").retryable(true).answered(429, Duration.ofMillis(7), "id");
        LunaSecException error = LunaSecException.of(facts);
        LunaSecException here = error.here();
        assertNotSame(error, here);
        assertInstanceOf(LunaSecException.RateLimited.class, here);
        assertEquals(429, here.status().orElseThrow());
        assertEquals(Duration.ofMillis(7), here.retryAfter().orElseThrow());
        assertEquals("id", here.requestId().orElseThrow());
        assertTrue(here.retryable());
        assertTrue(LunaSecException.of("overloaded", "words").status().isEmpty());
    }
}
