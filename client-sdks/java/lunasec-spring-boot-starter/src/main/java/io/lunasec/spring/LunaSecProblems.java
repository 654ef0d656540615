package io.lunasec.spring;

import io.lunasec.client.LunaSecException;
import io.lunasec.client.LunaSecException.Unavailable;
import java.net.URI;
import java.time.Duration;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.springframework.core.Ordered;
import org.springframework.core.annotation.Order;
import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpStatus;
import org.springframework.http.ProblemDetail;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.ExceptionHandler;
import org.springframework.web.bind.annotation.RestControllerAdvice;

/**
 * Answers exceptions of LunaSec as RFC 9457 problems, in words for whoever made the request. What the sidecar says is for the
 * application, and in its log: it names rules and places.
 *
 * <p>Goes before advices without an order, which may catch everything; one with an order goes before it.
 */
@Order(Ordered.LOWEST_PRECEDENCE - 1)
@RestControllerAdvice
public class LunaSecProblems {
    private static final Logger LOG = LoggerFactory.getLogger(LunaSecProblems.class);
    private static final Words AWAY = new Words(
            HttpStatus.SERVICE_UNAVAILABLE, "Protected data cannot be read or written just now. Please try again.");
    private static final Words DENIED = new Words(HttpStatus.FORBIDDEN, "You may not use this.");
    /** What the application or its operator has to mend is nothing that the user could. */
    private static final Words FAILED =
            new Words(HttpStatus.INTERNAL_SERVER_ERROR, "Something went wrong, and it was not the request.");

    private static final Map<String, Words> WORDS = Map.ofEntries(
            Map.entry("invalid_request", new Words(HttpStatus.BAD_REQUEST, "The request was not understood.")),
            Map.entry("invalid_token", new Words(HttpStatus.BAD_REQUEST, "This is not a token.")),
            Map.entry("unauthenticated", new Words(HttpStatus.UNAUTHORIZED, "Please sign in.")),
            Map.entry("forbidden", DENIED),
            Map.entry("grant_denied", DENIED),
            Map.entry(
                    "grant_expired",
                    new Words(HttpStatus.FORBIDDEN, "You may not use this any more. Please load the page again.")),
            Map.entry("not_found", new Words(HttpStatus.NOT_FOUND, "There is nothing here.")),
            Map.entry("conflict", new Words(HttpStatus.CONFLICT, "It was changed meanwhile. Please look again.")),
            Map.entry("expired", new Words(HttpStatus.GONE, "There is nothing here any more.")),
            Map.entry("payload_too_large", new Words(HttpStatus.PAYLOAD_TOO_LARGE, "The request is too large.")),
            Map.entry(
                    "rate_limited",
                    new Words(HttpStatus.TOO_MANY_REQUESTS, "This was too often. Please try again later.")));

    private record Words(HttpStatus status, String detail) {}

    /** Made by Spring. */
    public LunaSecProblems() {}

    /** An exception of the client. */
    @ExceptionHandler
    public ResponseEntity<ProblemDetail> problem(LunaSecException error) {
        Words words = error instanceof Unavailable ? AWAY : WORDS.getOrDefault(error.code(), FAILED);
        LOG.warn(
                "answered {}: {} (request {})",
                words.status().value(),
                error.getMessage(),
                error.requestId().orElse("-"));
        String code = words == FAILED ? "internal" : error.code();
        ResponseEntity.BodyBuilder answer = ResponseEntity.status(words.status());
        boolean again = words == AWAY || words.status() == HttpStatus.TOO_MANY_REQUESTS;
        if (again) {
            Duration after = error.retryAfter().orElse(Duration.ofSeconds(1));
            answer.header(HttpHeaders.RETRY_AFTER, String.valueOf(Math.max(1, (after.toMillis() + 999) / 1_000)));
        }
        ProblemDetail body = body(words, code, again);
        error.requestId().ifPresent(id -> {
            body.setProperty("request_id", id);
            body.setInstance(URI.create("urn:lunasec:request:" + id));
        });
        return answer.body(body);
    }

    /** A controller asked for a session, and there is none. */
    @ExceptionHandler
    public ResponseEntity<ProblemDetail> notSignedIn(NotSignedInException error) {
        return ResponseEntity.status(HttpStatus.UNAUTHORIZED)
                .body(body(WORDS.get("unauthenticated"), "unauthenticated", false));
    }

    private static ProblemDetail body(Words words, String code, boolean retryable) {
        ProblemDetail body = ProblemDetail.forStatusAndDetail(words.status(), words.detail());
        body.setType(URI.create("urn:lunasec:error:" + code));
        body.setTitle(words.status().getReasonPhrase());
        // Otherwise Spring puts the path there, and that may hold a token.
        body.setInstance(URI.create("about:blank"));
        body.setProperty("code", code);
        body.setProperty("retryable", retryable);
        return body;
    }
}
