package io.lunasec.client;

import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Function;

/**
 * What can go wrong. A class for each code of the contract, under what an application does about it:
 *
 * <pre>
 * LunaSecException                    code, detail, retryable, status?, retryAfter?, requestId?
 * ├── BadRequest                      mend the call; trying again changes nothing
 * │   ├── InvalidRequest              invalid_request
 * │   ├── InvalidToken                invalid_token
 * │   ├── InvalidNamespace            invalid_namespace
 * │   ├── PayloadTooLarge             payload_too_large
 * │   ├── MethodNotAllowed            method_not_allowed
 * │   └── UnsupportedMediaType        unsupported_media_type
 * ├── AccessDenied                    the caller, or its user, may not
 * │   ├── Unauthenticated             unauthenticated
 * │   ├── Forbidden                   forbidden
 * │   ├── GrantDenied                 grant_denied
 * │   └── GrantExpired                grant_expired
 * ├── Gone                            there is no value, and there will be none
 * │   ├── NotFound                    not_found
 * │   └── Expired                     expired
 * ├── Conflict                        conflict: read again, then decide
 * ├── RateLimited                     rate_limited: the same again, after retryAfter
 * ├── Unavailable                     the same again, later; what masks and fallbacks stand in for
 * │   ├── SidecarUnreachable          sidecar_unreachable: nobody at the socket, or the connection broke
 * │   ├── Overloaded                  overloaded
 * │   ├── StorageUnavailable          storage_unavailable
 * │   ├── KeysUnavailable             keys_unavailable
 * │   ├── JournalFull                 journal_full
 * │   └── DeadlineExceeded            deadline_exceeded, also of the call's own deadline
 * ├── SidecarFailed                   the operator finds the cause in the log, under requestId
 * │   ├── Corrupted                   corrupted
 * │   └── Internal                    internal
 * └── ProtocolError                   protocol_error: the answer is not this contract's
 * </pre>
 *
 * <p>A code that this version does not know is a plain {@code LunaSecException}: it may be a refusal, which no policy may hide. It is
 * {@code Unavailable} only where the answer's status says so (5xx) and the sidecar that it is retryable.
 *
 * <p>A call that was given up, by {@code future.cancel} or by interrupting its thread, ends with a {@link
 * java.util.concurrent.CancellationException}.
 *
 * <p>No message holds a token, a value or a session.
 */
public class LunaSecException extends RuntimeException {
    private final transient Facts facts;

    LunaSecException(Facts facts) {
        super(facts.code() + ": " + facts.detail(), facts.cause());
        this.facts = facts;
    }

    /** For programs: the contract's code, or {@code sidecar_unreachable}, or {@code protocol_error}. */
    public String code() {
        return facts.code();
    }

    /** For people: what happened and what to do. */
    public String detail() {
        return facts.detail();
    }

    /** Whether the same call may succeed later. The client has tried already, as far as its policy goes. */
    public boolean retryable() {
        return facts.retryable();
    }

    /** The contract's HTTP status of this code; none where there was no answer, and for an item of a batch. */
    public OptionalInt status() {
        return facts.status() == 0 ? OptionalInt.empty() : OptionalInt.of(facts.status());
    }

    /** When to try again, where the sidecar said so. */
    public Optional<Duration> retryAfter() {
        return Optional.ofNullable(facts.retryAfter());
    }

    /** Names the request in the sidecar's log, where there was an answer. */
    public Optional<String> requestId() {
        return Optional.ofNullable(facts.requestId());
    }

    /** Serialized, it would lose what programs ask it for. */
    protected Object writeReplace() {
        return new IllegalStateException(getMessage());
    }

    Facts facts() {
        return facts;
    }

    /** The same, thrown from here: one that ended a shared request is not thrown in two threads. */
    LunaSecException here() {
        return of(facts);
    }

    /** The exception of a code. */
    static LunaSecException of(Facts given) {
        Function<Facts, LunaSecException> known = BY_CODE.get(given.code());
        if (known != null) {
            return known.apply(given);
        }
        Facts facts = given.code(Texts.word(given.code()));
        return facts.retryable() && facts.status() >= 500 ? new Unavailable(facts) : new LunaSecException(facts);
    }

    static LunaSecException of(String code, String detail) {
        return of(new Facts(code, detail));
    }

    static InvalidRequest invalid(String detail) {
        return new InvalidRequest(new Facts("invalid_request", detail));
    }

    /**
     * What is known. {@code sent}: the request had left, so that a write may have been done. {@code closed}: this client was
     * closed, which is the application's own doing, and no policy stands in for it.
     */
    record Facts(
            String code,
            String detail,
            boolean retryable,
            int status,
            Duration retryAfter,
            String requestId,
            Throwable cause,
            boolean sent,
            boolean closed) {
        Facts {
            Objects.requireNonNull(code);
            Objects.requireNonNull(detail);
        }

        Facts(String code, String detail) {
            this(code, detail, false, 0, null, null, null, false, false);
        }

        Facts code(String other) {
            return new Facts(other, detail, retryable, status, retryAfter, requestId, cause, sent, closed);
        }

        Facts retryable(boolean is) {
            return new Facts(code, detail, is, status, retryAfter, requestId, cause, sent, closed);
        }

        Facts answered(int as, Duration after, String request) {
            return new Facts(code, detail, retryable, as, after, request, cause, sent, closed);
        }

        Facts because(Throwable of) {
            return new Facts(code, detail, retryable, status, retryAfter, requestId, of, sent, closed);
        }

        Facts sent(boolean was) {
            return new Facts(code, detail, retryable, status, retryAfter, requestId, cause, was, closed);
        }

        Facts byClose() {
            return new Facts(code, detail, false, status, retryAfter, requestId, cause, sent, true);
        }
    }

    private static final Map<String, Function<Facts, LunaSecException>> BY_CODE = Map.ofEntries(
            Map.entry("invalid_request", InvalidRequest::new),
            Map.entry("invalid_token", InvalidToken::new),
            Map.entry("invalid_namespace", InvalidNamespace::new),
            Map.entry("payload_too_large", PayloadTooLarge::new),
            Map.entry("method_not_allowed", MethodNotAllowed::new),
            Map.entry("unsupported_media_type", UnsupportedMediaType::new),
            Map.entry("unauthenticated", Unauthenticated::new),
            Map.entry("forbidden", Forbidden::new),
            Map.entry("grant_denied", GrantDenied::new),
            Map.entry("grant_expired", GrantExpired::new),
            Map.entry("not_found", NotFound::new),
            Map.entry("expired", Expired::new),
            Map.entry("conflict", Conflict::new),
            Map.entry("rate_limited", RateLimited::new),
            Map.entry("sidecar_unreachable", SidecarUnreachable::new),
            Map.entry("overloaded", Overloaded::new),
            Map.entry("storage_unavailable", StorageUnavailable::new),
            Map.entry("keys_unavailable", KeysUnavailable::new),
            Map.entry("journal_full", JournalFull::new),
            Map.entry("deadline_exceeded", DeadlineExceeded::new),
            Map.entry("corrupted", Corrupted::new),
            Map.entry("internal", Internal::new),
            Map.entry("protocol_error", ProtocolError::new));

    /** Mend the call; trying again changes nothing. */
    public static class BadRequest extends LunaSecException {
        BadRequest(Facts facts) {
            super(facts);
        }
    }

    /** The caller, or its user, may not. */
    public static class AccessDenied extends LunaSecException {
        AccessDenied(Facts facts) {
            super(facts);
        }
    }

    /** There is no value under this token, and there will be none. */
    public static class Gone extends LunaSecException {
        Gone(Facts facts) {
            super(facts);
        }
    }

    /** Nobody can answer just now. */
    public static class Unavailable extends LunaSecException {
        Unavailable(Facts facts) {
            super(facts);
        }
    }

    /** The sidecar failed; its log says why, under {@link #requestId()}. */
    public static class SidecarFailed extends LunaSecException {
        SidecarFailed(Facts facts) {
            super(facts);
        }
    }

    /** {@code invalid_request} */
    public static final class InvalidRequest extends BadRequest {
        InvalidRequest(Facts facts) {
            super(facts);
        }
    }

    /** {@code invalid_token} */
    public static final class InvalidToken extends BadRequest {
        InvalidToken(Facts facts) {
            super(facts);
        }
    }

    /** {@code invalid_namespace} */
    public static final class InvalidNamespace extends BadRequest {
        InvalidNamespace(Facts facts) {
            super(facts);
        }
    }

    /** {@code payload_too_large} */
    public static final class PayloadTooLarge extends BadRequest {
        PayloadTooLarge(Facts facts) {
            super(facts);
        }
    }

    /** {@code method_not_allowed}: client and sidecar are of different versions. */
    public static final class MethodNotAllowed extends BadRequest {
        MethodNotAllowed(Facts facts) {
            super(facts);
        }
    }

    /** {@code unsupported_media_type}: client and sidecar are of different versions. */
    public static final class UnsupportedMediaType extends BadRequest {
        UnsupportedMediaType(Facts facts) {
            super(facts);
        }
    }

    /** {@code unauthenticated}: the policy asks for a session, or its JWT proves none. */
    public static final class Unauthenticated extends AccessDenied {
        Unauthenticated(Facts facts) {
            super(facts);
        }
    }

    /** {@code forbidden}: the policy does not allow it; the detail names the rule. */
    public static final class Forbidden extends AccessDenied {
        Forbidden(Facts facts) {
            super(facts);
        }
    }

    /** {@code grant_denied}: the session was not granted this. */
    public static final class GrantDenied extends AccessDenied {
        GrantDenied(Facts facts) {
            super(facts);
        }
    }

    /** {@code grant_expired}: the session was granted this, and not any more. */
    public static final class GrantExpired extends AccessDenied {
        GrantExpired(Facts facts) {
            super(facts);
        }
    }

    /** {@code not_found}: no such token in this namespace, or it was deleted. */
    public static final class NotFound extends Gone {
        NotFound(Facts facts) {
            super(facts);
        }
    }

    /** {@code expired}: the value's time is over. */
    public static final class Expired extends Gone {
        Expired(Facts facts) {
            super(facts);
        }
    }

    /** {@code conflict}: the metadata has another version, or an idempotency key came with another value. */
    public static final class Conflict extends LunaSecException {
        Conflict(Facts facts) {
            super(facts);
        }
    }

    /** {@code rate_limited}: this application asks too often; see {@link #retryAfter()}. */
    public static final class RateLimited extends LunaSecException {
        RateLimited(Facts facts) {
            super(facts);
        }
    }

    /** {@code sidecar_unreachable}: nobody at the socket, or the connection broke. */
    public static final class SidecarUnreachable extends Unavailable {
        SidecarUnreachable(Facts facts) {
            super(facts);
        }

        /** Whether the request had left: a write may have been done. */
        public boolean sent() {
            return facts().sent();
        }

        /** Whether it is because this client was closed. No policy stands in for that. */
        public boolean closed() {
            return facts().closed();
        }
    }

    /** {@code overloaded}: the sidecar has too much to do, or this process has too many calls under way. */
    public static final class Overloaded extends Unavailable {
        Overloaded(Facts facts) {
            super(facts);
        }
    }

    /** {@code storage_unavailable} */
    public static final class StorageUnavailable extends Unavailable {
        StorageUnavailable(Facts facts) {
            super(facts);
        }
    }

    /** {@code keys_unavailable} */
    public static final class KeysUnavailable extends Unavailable {
        KeysUnavailable(Facts facts) {
            super(facts);
        }
    }

    /** {@code journal_full}: storage is away, and no more writes can wait for it. */
    public static final class JournalFull extends Unavailable {
        JournalFull(Facts facts) {
            super(facts);
        }
    }

    /** {@code deadline_exceeded}: the sidecar's deadline, or the call's own. A write may have been done. */
    public static final class DeadlineExceeded extends Unavailable {
        DeadlineExceeded(Facts facts) {
            super(facts);
        }
    }

    /** {@code corrupted}: the stored record fails its integrity check. */
    public static final class Corrupted extends SidecarFailed {
        Corrupted(Facts facts) {
            super(facts);
        }
    }

    /** {@code internal}: a defect of the sidecar. */
    public static final class Internal extends SidecarFailed {
        Internal(Facts facts) {
            super(facts);
        }
    }

    /** {@code protocol_error}: what came back is not this contract; something else listens there, or another version. */
    public static final class ProtocolError extends LunaSecException {
        ProtocolError(Facts facts) {
            super(facts);
        }
    }
}
