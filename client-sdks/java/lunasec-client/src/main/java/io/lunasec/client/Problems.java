package io.lunasec.client;

import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import io.lunasec.client.LunaSecException.Facts;
import io.lunasec.client.internal.wire.Again;
import io.lunasec.client.internal.wire.Problem;
import io.lunasec.client.internal.wire.Reason;
import io.netty.handler.codec.http2.Http2Headers;
import java.time.Duration;
import java.util.Base64;
import java.util.Map;

/** What a gRPC status says, in the words of the contract. */
final class Problems {
    private static final String DOMAIN = "lunasec";
    /** The contract's HTTP statuses: the only thing that gRPC does not say. */
    private static final Map<String, Integer> STATUS = Map.ofEntries(
            Map.entry("invalid_request", 400),
            Map.entry("invalid_token", 400),
            Map.entry("invalid_namespace", 400),
            Map.entry("unauthenticated", 401),
            Map.entry("forbidden", 403),
            Map.entry("grant_denied", 403),
            Map.entry("grant_expired", 403),
            Map.entry("not_found", 404),
            Map.entry("method_not_allowed", 405),
            Map.entry("conflict", 409),
            Map.entry("expired", 410),
            Map.entry("payload_too_large", 413),
            Map.entry("unsupported_media_type", 415),
            Map.entry("rate_limited", 429),
            Map.entry("corrupted", 500),
            Map.entry("internal", 500),
            Map.entry("overloaded", 503),
            Map.entry("storage_unavailable", 503),
            Map.entry("keys_unavailable", 503),
            Map.entry("journal_full", 503),
            Map.entry("deadline_exceeded", 504));

    private Problems() {}

    /** Status and request id may be null. */
    static LunaSecException of(String status, Http2Headers end, String requestId) {
        Problem problem = problem(status, end);
        Reason reason = null;
        Duration after = null;
        for (Any detail : problem.getDetailsList()) {
            if (reason == null && detail.getTypeUrl().endsWith("/google.rpc.ErrorInfo")) {
                reason = reason(detail.getValue());
            } else if (detail.getTypeUrl().endsWith("/google.rpc.RetryInfo")) {
                after = after(detail.getValue());
            }
        }
        if (reason == null || reason.getReason().isEmpty()) {
            throw withoutProblem(status);
        }
        String retryable = reason.getMetadataOrDefault("retryable", "");
        if (!retryable.equals("true") && !retryable.equals("false")) {
            throw Wire.misread("a problem does not say whether to try again");
        }
        String code = reason.getReason();
        int http = STATUS.containsKey(code) ? STATUS.get(code) : httpOf(status);
        return LunaSecException.of(new Facts(code, problem.getMessage())
                .retryable(retryable.equals("true"))
                .answered(http, after, requestId));
    }

    private static Problem problem(String status, Http2Headers end) {
        CharSequence details = end.get("grpc-status-details-bin");
        if (status == null || details == null) {
            throw withoutProblem(status);
        }
        try {
            return Problem.parseFrom(Base64.getDecoder().decode(details.toString()));
        } catch (IllegalArgumentException | InvalidProtocolBufferException quotes) {
            throw Wire.misread("what went wrong cannot be read");
        }
    }

    private static LunaSecException withoutProblem(String status) {
        // Anything may stand there: only a number is repeated.
        boolean isNumber = status != null && status.matches("\\d{1,3}");
        return Wire.misread(isNumber ? "its status is " + status + " without a problem" : "it has no status");
    }

    private static Reason reason(ByteString of) {
        try {
            Reason reason = Reason.parseFrom(of);
            return reason.getDomain().equals(DOMAIN) ? reason : null;
        } catch (InvalidProtocolBufferException quotes) {
            throw Wire.misread("what went wrong cannot be read");
        }
    }

    private static Duration after(ByteString of) {
        try {
            com.google.protobuf.Duration delay = Again.parseFrom(of).getRetryDelay();
            Duration after = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
            if (after.isNegative()) {
                return null;
            }
            return after.compareTo(Limits.LONGEST) > 0 ? Limits.LONGEST : after;
        } catch (InvalidProtocolBufferException | ArithmeticException none) {
            return null;
        }
    }

    /** Of a code that is newer than this client: as gRPC's own statuses are mapped. */
    private static int httpOf(String status) {
        return switch (status) {
            case "3", "9", "11" -> 400;
            case "16" -> 401;
            case "7" -> 403;
            case "5" -> 404;
            case "6", "10" -> 409;
            case "8" -> 429;
            case "1" -> 499;
            case "12" -> 501;
            case "14" -> 503;
            case "4" -> 504;
            default -> 500;
        };
    }
}
