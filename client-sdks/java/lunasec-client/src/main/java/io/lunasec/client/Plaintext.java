package io.lunasec.client;

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonValue;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Base64;
import java.util.Objects;

/**
 * A value in the clear, that prints redacted until it is asked: {@link #reveal()} for text, {@link #revealBytes()} for bytes. Jackson
 * reads one from a text, and from nothing else.
 *
 * <p>Java's own serialization refuses it.
 */
public final class Plaintext {
    /** Transient: what reads fields by reflection leaves them out. One of the two. */
    private final transient String text;

    private final transient byte[] bytes;

    private Plaintext(String text, byte[] bytes) {
        this.text = text;
        this.bytes = bytes;
    }

    /** Wraps a text, so that it prints redacted from here on. Not null. */
    public static Plaintext of(String text) {
        return new Plaintext(Objects.requireNonNull(text, "a value is a text or bytes, and not null"), null);
    }

    /** Wraps a copy of bytes. Not null. */
    public static Plaintext of(byte[] bytes) {
        return new Plaintext(
                null,
                Objects.requireNonNull(bytes, "a value is a text or bytes, and not null")
                        .clone());
    }

    /**
     * Wraps the bytes that a base64 text stands for, as JSON brings them. Whether it is base64 is looked at where it is used, so that one
     * that is not fails alone among the items of a batch. Not null.
     */
    public static Plaintext ofBase64(String base64) {
        try {
            return new Plaintext(null, Base64.getDecoder().decode(base64));
        } catch (IllegalArgumentException none) {
            return new Plaintext(null, null);
        }
    }

    @JsonCreator(mode = JsonCreator.Mode.DELEGATING)
    private static Plaintext read(CharSequence text) {
        return of(text.toString());
    }

    /** Jackson's own words would quote it, and Spring logs them. */
    @JsonCreator(mode = JsonCreator.Mode.DELEGATING)
    private static Plaintext read(Number number) {
        throw noText();
    }

    private static LunaSecException noText() {
        return LunaSecException.invalid("a value in JSON is a text: put it in quotes");
    }

    /** Whether there is anything in it: not where what was said to be base64 was none. */
    boolean isWhole() {
        return text != null || bytes != null;
    }

    /** Whether it was tokenized as text, or as bytes. */
    public boolean isText() {
        return text != null;
    }

    /**
     * The text.
     *
     * @throws IllegalStateException where the value was tokenized as bytes: they may be no text
     */
    public String reveal() {
        if (text == null) {
            throw new IllegalStateException(
                    "this value was tokenized as bytes, not as text: ask for them with revealBytes()");
        }
        return text;
    }

    /** The bytes; of a text, those of its UTF-8. A copy: changing it changes nothing else. */
    public byte[] revealBytes() {
        if (!isWhole()) {
            throw LunaSecException.invalid("the value was said to be base64, and is not: encode its bytes");
        }
        return text == null ? bytes.clone() : text.getBytes(StandardCharsets.UTF_8);
    }

    /** Compares in a time that says nothing of where they differ. Text and bytes are never equal. */
    @Override
    public boolean equals(Object other) {
        return other instanceof Plaintext plaintext
                && isText() == plaintext.isText()
                && isWhole()
                && plaintext.isWhole()
                && MessageDigest.isEqual(revealBytes(), plaintext.revealBytes());
    }

    /** Salted for this process. */
    @Override
    public int hashCode() {
        return text == null ? Redacted.hash(bytes) : Redacted.hash(text);
    }

    /** Redacted. */
    @Override
    @JsonValue
    public String toString() {
        return Redacted.PLAINTEXT;
    }
}
