package io.lunasec.client;

import io.netty.util.AsciiString;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * What a request says beside its message: where, for whom, and what for.
 *
 * @param headers name, value, name, value, …
 * @param key two contexts are the same if their keys are
 */
record Context(List<AsciiString> headers, String key) {
    static final AsciiString IDEMPOTENCY_KEY = AsciiString.cached("idempotency-key");

    /** Any of them may be null. */
    static Context of(String namespace, String session, String jwt, String purpose) {
        List<AsciiString> headers = new ArrayList<>(8);
        StringBuilder key = new StringBuilder();
        int bytes = 0;
        bytes += add(headers, key, "lunasec-namespace", "namespace", "", namespace);
        bytes += add(headers, key, "lunasec-session", "session", "", session);
        bytes += add(headers, key, "authorization", "JWT", "Bearer ", jwt);
        bytes += add(headers, key, "lunasec-purpose", "purpose", "", purpose);
        if (bytes > Limits.HEAD_BYTES) {
            throw LunaSecException.invalid(
                    "namespace, session, JWT and purpose are longer than 14 KiB together, which is more than a"
                            + " request can say beside its message; shorten them");
        }
        return new Context(List.copyOf(headers), key.toString());
    }

    private static int add(
            List<AsciiString> headers, StringBuilder key, String name, String what, String scheme, String text) {
        if (text == null) {
            return 0;
        }
        AsciiString value = value(what, scheme, text);
        headers.add(AsciiString.cached(name));
        headers.add(value);
        // Control characters are refused, so that this is no text of theirs.
        key.append(name).append('\n').append(text).append('\n');
        return value.length();
    }

    /**
     * A header's value: the bytes of its UTF-8, which is how the sidecar reads it. Spaces at the ends are lost on the way, so that it
     * would arrive as somebody else's.
     */
    static AsciiString value(String what, String scheme, String text) {
        if (text.isEmpty() || !text.strip().equals(text) || !Texts.wellFormed(text) || hasControl(text)) {
            throw LunaSecException.invalid(
                    "the " + what + " cannot be sent: it is text without control characters, at least one"
                            + " character, and with no space at either end");
        }
        return new AsciiString((scheme + text).getBytes(StandardCharsets.UTF_8), false);
    }

    private static boolean hasControl(String text) {
        return text.chars().anyMatch(each -> each < 0x20 || each == 0x7f);
    }

    /** Nothing that prints it shows a session. */
    @Override
    public String toString() {
        return "Context";
    }
}
