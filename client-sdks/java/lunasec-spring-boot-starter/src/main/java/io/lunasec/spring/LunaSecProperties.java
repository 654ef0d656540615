package io.lunasec.spring;

import java.time.Duration;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;

/**
 * How the client is made. What is not given has the client's own default.
 *
 * @param socket where the sidecar's socket is: LUNASEC_SOCKET, else /run/lunasec/lunasec.sock
 * @param namespace instead of the caller's default
 * @param purpose what values are for, for the audit record
 * @param deadline for each whole call: 15 s, and 2 s where a policy stands in for an answer
 * @param startDeadline how long the first calls wait for the socket: 10 s
 * @param restartGrace how long calls wait for the socket to come back: 2 s
 * @param connections to the socket, at most: 4
 * @param pendingCalls under way; more are refused as overloaded: 10,000
 * @param batchItems of the requests that calls share: 1,000
 * @param retry how calls are tried again
 * @param problems whether controllers' LunaSec exceptions are answered as RFC 9457 problems
 */
@ConfigurationProperties("lunasec")
public record LunaSecProperties(
        String socket,
        String namespace,
        String purpose,
        Duration deadline,
        Duration startDeadline,
        Duration restartGrace,
        Integer connections,
        Integer pendingCalls,
        Integer batchItems,
        @DefaultValue Retry retry,
        @DefaultValue Problems problems) {

    /**
     * How calls are tried again.
     *
     * @param attempts of a call, the first included: 3; 1 where a policy stands in for an answer
     * @param pause the longest before the second attempt: 50 ms
     * @param pauseMost the longest of all: 1 s
     * @param budget retries that may have been saved up: 100
     */
    public record Retry(Integer attempts, Duration pause, Duration pauseMost, Integer budget) {}

    /**
     * Answers of controllers.
     *
     * @param enabled whether LunaSec exceptions are answered as RFC 9457 problems
     */
    public record Problems(@DefaultValue("true") boolean enabled) {}
}
