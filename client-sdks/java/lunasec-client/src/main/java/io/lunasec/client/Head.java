package io.lunasec.client;

import io.netty.handler.codec.http2.Http2Headers;
import java.time.Duration;
import java.util.Optional;

/** What an answer says beside its message. */
final class Head {
    private final Http2Headers headers;

    Head(Http2Headers headers) {
        this.headers = headers;
    }

    /** None where it is something else, or a token that was put there. */
    String requestId() {
        String id = text("lunasec-request-id");
        return id != null && id.matches("(?!lunasec-)[A-Za-z0-9_-]{1,64}") ? id : null;
    }

    Optional<Staleness> staleness() {
        String degraded = text("lunasec-degraded");
        return degraded == null ? Optional.empty() : Optional.of(new Staleness(Wire.degraded(degraded), age()));
    }

    private Optional<Duration> age() {
        String age = text("age");
        return age != null && age.matches("\\d{1,15}")
                ? Optional.of(Duration.ofSeconds(Long.parseLong(age)))
                : Optional.empty();
    }

    String text(String name) {
        CharSequence value = headers.get(name);
        return value == null ? null : value.toString();
    }
}
