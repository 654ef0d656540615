package io.lunasec.client;

import java.security.SecureRandom;
import java.util.Arrays;

/** What tokens and plaintexts print as, and what recognizes that where a value or a token should be. */
final class Redacted {
    static final String TOKEN = "[lunasec token: .expose() gives its text]";
    static final String PLAINTEXT = "[lunasec plaintext: .reveal() gives its text]";
    /** Longer texts are no prints, and no masks. */
    private static final int LONGEST = 256;
    /** Of this process alone: a hash that is printed tells nothing that could be looked up. */
    private static final int SALT = new SecureRandom().nextInt();

    private Redacted() {}

    /** What is wrong with a text that has a print in it; null where it has none. */
    static String printedAs(String text) {
        if (text.contains(TOKEN)) {
            return "this is how a Token prints, not what it holds: store what token.expose() gives";
        }
        if (text.contains(PLAINTEXT)) {
            return "this is how a Plaintext prints, not what it holds: give the Plaintext itself, or what reveal() gives";
        }
        return null;
    }

    static boolean isMask(String text) {
        return text.length() <= LONGEST && text.strip().equals(Limits.MASK);
    }

    static boolean isShort(int bytes) {
        return bytes <= LONGEST;
    }

    static int hash(byte[] inside) {
        return mix(Arrays.hashCode(inside) ^ SALT);
    }

    static int hash(String inside) {
        return mix(inside.hashCode() ^ SALT);
    }

    private static int mix(int hash) {
        int mixed = hash * 0x9E3779B9;
        return (mixed ^ (mixed >>> 15)) * 0x85EBCA6B ^ SALT;
    }
}
