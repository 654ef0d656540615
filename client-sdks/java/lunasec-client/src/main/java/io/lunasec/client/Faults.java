package io.lunasec.client;

import io.lunasec.client.LunaSecException.Facts;
import java.io.IOException;
import java.util.Locale;

/** What happened to a connection, in words that say what to do. */
final class Faults {
    private static final String CODE = "sidecar_unreachable";
    private static final int DEEPEST_CAUSE = 16;

    private final String socket;

    Faults(String socket) {
        this.socket = socket;
    }

    /** Nothing was sent: nobody listens, or nobody may connect. */
    LunaSecException notConnected(Throwable cause) {
        String why = words(cause).toLowerCase(Locale.ROOT);
        if (why.contains("permission denied") || why.contains("not a socket") || why.contains("not permitted")) {
            // No waiting helps against it.
            return of("the socket " + socket + " cannot be used: check its path, mode and group", cause, false, false);
        }
        if (cause instanceof LinkageError) {
            return of("the Netty on the class path does not fit this client: see the cause", cause, false, false);
        }
        if (why.contains("too many open files")) {
            String many = "this process has too many files open for another connection: look for what it does not"
                    + " close, or raise its limit (ulimit -n)";
            return of(many, cause, true, false);
        }
        String words = "no sidecar answers at " + socket + ": start one, or set LUNASEC_SOCKET";
        return of(words, cause, true, false);
    }

    /** Netty wraps what the system said, sometimes more than once. */
    private static String words(Throwable cause) {
        StringBuilder words = new StringBuilder();
        int deep = 0;
        for (Throwable each = cause; each != null && deep < DEEPEST_CAUSE; each = each.getCause()) {
            words.append(each.getMessage()).append(": ");
            deep++;
        }
        return words.toString();
    }

    LunaSecException unsent() {
        return of("the sidecar was about to stop and did not take the request: make the call again", null, true, false);
    }

    LunaSecException broken(boolean sent) {
        String done = sent ? ", and a write may have been done" : "";
        String words = "the connection to the sidecar broke before its answer" + done
                + ": make the call again, and look into the sidecar's log if that goes on";
        return of(words, null, true, sent);
    }

    /** Its own words quote what came. */
    LunaSecException notHttp2() {
        return LunaSecException.of(
                "protocol_error", "the answer is not HTTP/2: does something else listen at the socket?");
    }

    static LunaSecException closed() {
        return LunaSecException.of(
                new Facts(CODE, "this client was closed: make calls before close(), or make another client").byClose());
    }

    private static LunaSecException of(String words, Throwable cause, boolean retryable, boolean sent) {
        boolean isPlain = cause instanceof IOException || cause instanceof LinkageError;
        return LunaSecException.of(
                new Facts(CODE, words).retryable(retryable).sent(sent).because(isPlain ? cause : null));
    }
}
