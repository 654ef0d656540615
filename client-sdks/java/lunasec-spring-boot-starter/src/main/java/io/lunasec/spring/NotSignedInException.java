package io.lunasec.spring;

/** A controller asks for the session of a user, and nobody is signed in: 401. */
public final class NotSignedInException extends RuntimeException {
    NotSignedInException() {
        super("nobody is signed in: there is no session; LunaSecSessions says whose a request is");
    }
}
