package io.lunasec.spring;

import jakarta.servlet.http.HttpServletRequest;
import java.util.Objects;
import java.util.Optional;

/**
 * Says whose request it is. A bean of it takes the place of the default, which is {@code user:} and the name of the request's
 * principal, else {@code visitor:} and the id of the HTTP session. Say the JWT of your users where they have one.
 */
@FunctionalInterface
public interface LunaSecSessions {
    /** None where it is nobody's: a controller that asks for a session then answers 401. */
    Optional<Id> of(HttpServletRequest request);

    /**
     * A session of a user.
     *
     * @param session the id; not null
     * @param jwt that proves it, or null
     */
    record Id(String session, String jwt) {
        /** Checks that there is one. */
        public Id {
            Objects.requireNonNull(session, "a session has an id");
        }

        /** One that nothing has to prove. */
        public static Id of(String session) {
            return new Id(session, null);
        }

        /** Not whose it is. */
        @Override
        public String toString() {
            return "Id";
        }
    }
}
