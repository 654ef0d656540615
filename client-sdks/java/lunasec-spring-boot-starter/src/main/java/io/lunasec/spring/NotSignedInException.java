package io.lunasec.spring;

/** A controller asks for the session of a user, and the request has neither a principal nor an HTTP session: 401. */
public final class NotSignedInException extends RuntimeException {
    NotSignedInException() {
        super("the request has neither a principal nor an HTTP session; LunaSecSessions says whose a request is");
    }
}
