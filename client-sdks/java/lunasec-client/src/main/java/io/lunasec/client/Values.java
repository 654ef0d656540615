package io.lunasec.client;

import com.google.protobuf.ByteString;
import io.lunasec.client.internal.wire.Encoding;
import io.lunasec.client.internal.wire.TokenizeRequest;
import java.nio.charset.StandardCharsets;
import java.time.Duration;

/** From a value to what is sent of it. What is shown or kept instead of a value is refused: the value would be lost. */
final class Values {
    private Values() {}

    /** Metadata and time may be null. */
    static Unit unit(Plaintext value, String metadata, Duration expiresIn) {
        TokenizeRequest.Builder request = TokenizeRequest.newBuilder();
        if (value.isText()) {
            request.setValue(text(value.reveal())).setEncoding(Encoding.ENCODING_UTF8);
        } else {
            request.setValue(bytes(value.revealBytes())).setEncoding(Encoding.ENCODING_BASE64);
        }
        if (metadata != null) {
            request.setMetadata(json(metadata));
        }
        if (expiresIn != null) {
            request.setExpiresIn(duration("expiresIn", expiresIn));
        }
        return Unit.of(request.build());
    }

    private static ByteString text(String text) {
        if (!Texts.wellFormed(text)) {
            throw LunaSecException.invalid(
                    "the text has half of a surrogate pair, which UTF-8 cannot say; tokenize its bytes instead");
        }
        refuse(text);
        return ByteString.copyFromUtf8(text);
    }

    private static ByteString bytes(byte[] bytes) {
        if (Redacted.isShort(bytes.length)) {
            refuse(new String(bytes, StandardCharsets.UTF_8));
        }
        return ByteString.copyFrom(bytes);
    }

    private static void refuse(String text) {
        if (Redacted.isMask(text)) {
            throw LunaSecException.invalid(
                    "this is the mask that is shown when a value is not available, not a value: tokenize the value");
        }
        refusePrints(text);
    }

    /** Metadata: whether it is JSON is the sidecar's to say. */
    static String json(String text) {
        if (!Texts.wellFormed(text)) {
            throw LunaSecException.invalid("the metadata is no JSON: it has half of a surrogate pair");
        }
        refusePrints(text);
        return text;
    }

    private static void refusePrints(String text) {
        String printed = Redacted.printedAs(text);
        if (printed != null) {
            throw LunaSecException.invalid(printed);
        }
    }

    static com.google.protobuf.Duration duration(String what, Duration time) {
        if (time.isNegative()) {
            throw LunaSecException.invalid(what + " is a time, and not before now");
        }
        return com.google.protobuf.Duration.newBuilder()
                .setSeconds(time.getSeconds())
                .setNanos(time.getNano())
                .build();
    }
}
