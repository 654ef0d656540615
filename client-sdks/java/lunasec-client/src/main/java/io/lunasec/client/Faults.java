package io.lunasec.client;

import io.lunasec.client.LunaSecException.Facts;
import java.io.IOException;
import java.util.Locale;

/** What happened to a connection, in words that say what to do. */
final class Faults {
    private static final String CODE = "sidecar_unreachable";
    private final String socket;

    Faults(String socket) {
        this.socket = socket;
    }

    /** Nothing was sent: nobody listens, or nobody may connect. */
    LunaSecException notConnected(Throwable cause) {
        String why = String.valueOf(cause.getMessage()).toLowerCase(Locale.ROOT);
        if (why.contains("permission denied") || why.contains("not a socket") || why.contains("not permitted")) {
            // No waiting helps against it.
            return of("the socket " + socket + " cannot be used: check its path, mode and group", cause, false, false);
        }
        String words = "no sidecar answers at " + socket + ": start one, or set LUNASEC_SOCKET";
        return of(words, cause, true, false);
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
        boolean isPlain = cause instanceof IOException;
        return LunaSecException.of(
                new Facts(CODE, words).retryable(retryable).sent(sent).because(isPlain ? cause : null));
    }
}
