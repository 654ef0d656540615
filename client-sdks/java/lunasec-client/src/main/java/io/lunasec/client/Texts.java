package io.lunasec.client;

/** Texts that can be sent. */
final class Texts {
    private Texts() {}

    /** A word that may stand in labels, logs and URIs; whoever sent it may have put anything there. */
    static String word(String sent) {
        return sent.matches("[a-z_]{1,64}") ? sent : "unknown";
    }

    /** Whether each surrogate has its other half: UTF-8 cannot say half of a pair. */
    static boolean wellFormed(String text) {
        for (int at = 0; at < text.length(); at++) {
            char here = text.charAt(at);
            if (!Character.isSurrogate(here)) {
                continue;
            }
            boolean paired = Character.isHighSurrogate(here)
                    && at + 1 < text.length()
                    && Character.isLowSurrogate(text.charAt(at + 1));
            if (!paired) {
                return false;
            }
            at++;
        }
        return true;
    }
}
