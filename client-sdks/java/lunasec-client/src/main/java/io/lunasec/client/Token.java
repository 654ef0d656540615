package io.lunasec.client;

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonValue;
import io.lunasec.client.LunaSecException.Facts;
import io.lunasec.client.LunaSecException.InvalidToken;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Objects;
import java.util.regex.Pattern;

/**
 * What to keep instead of a value.
 *
 * <p>It prints redacted wherever something prints by itself: log lines, string concatenation, debuggers, JSON by Jackson or Gson. Java's
 * own serialization refuses it. To store it or to hand it to a browser, ask for its text: {@link #expose()}.
 */
public final class Token {
    private static final Pattern FORM =
            Pattern.compile("lunasec-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}");

    /** Transient: what reads fields by reflection leaves it out. */
    private final transient String text;

    /** With more than a String, or older versions of Jackson would make keys of maps with it, whatever they are. */
    private Token(String text, Void alone) {
        this.text = text;
    }

    /**
     * A token from its text. Only what was redacted is refused here; whether it is a token is the sidecar's to say.
     *
     * @param text as a database gave it back; not null
     * @throws InvalidToken where a redacted token was stored instead of its text
     */
    public static Token of(String text) {
        Objects.requireNonNull(text, "a token is a text: look for null before Token.of");
        String printed = Redacted.printedAs(text);
        if (printed != null) {
            throw refused(printed + "; what was stored here is lost");
        }
        if (!Texts.wellFormed(text)) {
            throw refused("a token is `lunasec-` and a UUID; this one is no text that can be sent");
        }
        return new Token(text, null);
    }

    /**
     * A token from a text that may be anything: a form, a request, a column. Jackson makes tokens this way.
     *
     * @param text {@code lunasec-} and a lower-case v4 UUID; not null
     * @throws InvalidToken where it is anything else, in words that do not quote it
     */
    public static Token parse(String text) {
        Token token = of(text);
        if (!FORM.matcher(text).matches()) {
            throw none();
        }
        return token;
    }

    /**
     * The same as {@link #parse}, by the name that frameworks look for where they make a parameter of a text: Spring, JAX-RS and others.
     *
     * @param text {@code lunasec-} and a lower-case v4 UUID; not null
     * @throws InvalidToken where it is anything else, in words that do not quote it
     */
    @JsonCreator(mode = JsonCreator.Mode.DISABLED)
    public static Token valueOf(String text) {
        return parse(text);
    }

    /** Not of a String: Jackson would make keys of maps with it, too, and quote those that it refuses. */
    @JsonCreator(mode = JsonCreator.Mode.DELEGATING)
    private static Token read(CharSequence text) {
        return parse(text.toString());
    }

    /** Jackson's own words would quote it, and Spring logs them. */
    @JsonCreator(mode = JsonCreator.Mode.DELEGATING)
    private static Token read(Number number) {
        throw none();
    }

    private static InvalidToken none() {
        return refused("a token is `lunasec-` and a lower-case v4 UUID; this is something else, perhaps a value that"
                + " was never tokenized");
    }

    private static InvalidToken refused(String detail) {
        return new InvalidToken(new Facts("invalid_token", detail));
    }

    /** The text, {@code lunasec-} and a UUID: for a database, a request, and not for a log. */
    public String expose() {
        return text;
    }

    /** Compares in a time that says nothing of where they differ. */
    @Override
    public boolean equals(Object other) {
        return other instanceof Token token
                && MessageDigest.isEqual(
                        text.getBytes(StandardCharsets.UTF_8), token.text.getBytes(StandardCharsets.UTF_8));
    }

    /** Salted for this process. */
    @Override
    public int hashCode() {
        return Redacted.hash(text);
    }

    /** Redacted. */
    @Override
    @JsonValue
    public String toString() {
        return Redacted.TOKEN;
    }
}
