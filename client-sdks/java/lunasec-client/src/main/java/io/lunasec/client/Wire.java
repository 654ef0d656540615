package io.lunasec.client;

import com.google.protobuf.ByteString;
import com.google.protobuf.Message;
import com.google.protobuf.Timestamp;
import io.lunasec.client.LunaSecException.Facts;
import io.lunasec.client.LunaSecException.ProtocolError;
import io.lunasec.client.internal.wire.Encoding;
import io.lunasec.client.internal.wire.ItemError;
import java.time.Duration;
import java.time.Instant;
import java.util.Optional;

/** From messages of the contract to what an application sees. What is not the contract's to the letter is a {@link ProtocolError}. */
final class Wire {
    /** The years 1 to 9999, which is all that a Timestamp may say. */
    private static final long EARLIEST = Instant.parse("0001-01-01T00:00:00Z").getEpochSecond();

    private static final long LATEST = Instant.parse("9999-12-31T23:59:59Z").getEpochSecond();

    private Wire() {}

    /** Fields that are newer than this client are let pass; one that it knows, of another type than it knows, is none of those. */
    static <M extends Message> M known(M message) {
        if (message.getUnknownFields().asMap().isEmpty()) {
            return message;
        }
        for (int number : message.getUnknownFields().asMap().keySet()) {
            if (message.getDescriptorForType().findFieldByNumber(number) != null) {
                throw misread("a member is of another type");
            }
        }
        return message;
    }

    /** A parser's exception may quote what came: it is not passed on. */
    static ProtocolError misread(String what) {
        return new ProtocolError(new Facts(
                "protocol_error",
                "the answer was not understood: " + what
                        + "; is something else listening, or are client and sidecar of different versions?"));
    }

    static Durability durability(io.lunasec.client.internal.wire.Durability wire) {
        return switch (wire) {
            case DURABILITY_STORED -> Durability.STORED;
            case DURABILITY_JOURNALED -> Durability.JOURNALED;
            default -> throw misread("durability is neither stored nor journaled");
        };
    }

    static Token token(String text) {
        if (text.isEmpty()) {
            throw misread("there is no token");
        }
        return Token.of(text);
    }

    static Instant time(boolean there, Timestamp wire, String what) {
        boolean isOne = wire.getNanos() >= 0
                && wire.getNanos() <= 999_999_999
                && wire.getSeconds() >= EARLIEST
                && wire.getSeconds() <= LATEST;
        if (!there || !isOne) {
            throw misread(what + " is no time");
        }
        return Instant.ofEpochSecond(wire.getSeconds(), wire.getNanos());
    }

    static Plaintext plaintext(ByteString value, Encoding encoding) {
        return switch (encoding) {
            case ENCODING_UTF8 -> Plaintext.of(text(value));
            case ENCODING_BASE64 -> Plaintext.of(value.toByteArray());
            default -> throw misread("an encoding is neither utf8 nor base64");
        };
    }

    private static String text(ByteString value) {
        if (value.isValidUtf8()) {
            return value.toStringUtf8();
        }
        throw misread("a value is not UTF-8, as its encoding says");
    }

    /** Words, with commas between them. */
    static String degraded(String said) {
        return said.matches("[a-z_,]{1,64}") ? said : "unknown";
    }

    /** Beside an item, else in the head. */
    static Optional<Staleness> staleness(
            boolean there, io.lunasec.client.internal.wire.Staleness wire, Optional<Staleness> ofHead) {
        if (!there) {
            return ofHead;
        }
        Optional<Duration> age = wire.hasAge()
                ? Optional.of(Duration.ofSeconds(Math.max(0, wire.getAge().getSeconds())))
                : Optional.empty();
        return Optional.of(new Staleness(degraded(wire.getDependency()), age));
    }

    /** The error of one item. */
    static LunaSecException error(ItemError wire) {
        if (known(wire).getCode().isEmpty()) {
            throw misread("an error has no code");
        }
        return LunaSecException.of(new Facts(wire.getCode(), wire.getDetail()).retryable(wire.getRetryable()));
    }

    /** What a count of items has to be. */
    static void counted(int items, int asked) {
        if (items != asked) {
            throw misread("it has another number of items than the request");
        }
    }

    /** What an item is about: never somebody else's value for a token. */
    static void about(String token, Unit unit) {
        if (!unit.token().expose().equals(token)) {
            throw misread("an item is about another token than the request");
        }
    }
}
