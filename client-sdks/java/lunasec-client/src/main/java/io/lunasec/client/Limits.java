package io.lunasec.client;

import java.time.Duration;

/** Every bound and default of the client, named once. The contract's own bounds are the sidecar's to enforce. */
final class Limits {
    /** Items of one batch, by the contract. */
    static final int BATCH_ITEMS = 1_000;
    /** Bytes of a batch's request, by the contract. */
    static final int BATCH_BYTES = 16 * 1024 * 1024;
    /** Bytes of a request that lists tokens, by the contract. */
    static final int TOKEN_LIST_BYTES = 1024 * 1024;
    /** Bytes of one answer that are read: a batch's, and what is around its items. */
    static final int ANSWER_BYTES = BATCH_BYTES + 64 * 1024;
    /** Bytes of an answer's head, or of its end, that are read. */
    static final int ANSWER_HEAD_BYTES = 64 * 1024;
    /** Bytes of all that a request says beside its message; the sidecar takes heads of 16 KiB. */
    static final int HEAD_BYTES = 14 * 1024;
    /** Bytes of one answer that may be under way unread. */
    static final int STREAM_WINDOW = 1024 * 1024;
    /** The same of all answers of a connection. */
    static final int CONNECTION_WINDOW = 16 * 1024 * 1024;

    /** For a call that fails where nobody answers: a little more than the sidecar gives itself. */
    static final Duration DEADLINE = Duration.ofSeconds(15);
    /** For a call that shows something else instead: a page waits for it. */
    static final Duration DISPLAY_DEADLINE = Duration.ofSeconds(2);
    /** The longest time that may be asked for. */
    static final Duration LONGEST = Duration.ofMillis(Integer.MAX_VALUE);
    /** How long the first calls wait for the socket. */
    static final Duration START_DEADLINE = Duration.ofSeconds(10);
    /** How long calls wait for the socket to come back. */
    static final Duration RESTART_GRACE = Duration.ofSeconds(2);
    /** For a connection to the socket. */
    static final int CONNECT_MS = 1_000;

    /**
     * Requests made to find out whose item had a whole batch refused: enough for one among a thousand. Beyond, all that are left
     * are refused, for it is not an item's fault, but what is said of all of them.
     */
    static final int SEARCHES = 24;
    /** Connections to the socket. */
    static final int CONNECTIONS = 4;
    /** Requests under way on a connection before another is opened; the sidecar takes 100 at a time. */
    static final int STREAMS = 64;
    /** Requests of a connection that are taken back in a second; the sidecar ends one on which too many are. */
    static final int RESETS = 32;
    /** Calls under way; more are refused as {@code overloaded}. */
    static final int PENDING_CALLS = 10_000;

    /** Attempts of a call, the first included. */
    static final int ATTEMPTS = 3;
    /** Attempts of a call whose connection broke, whatever is configured: a restart does not surface. */
    static final int CONNECTION_ATTEMPTS = 3;
    /** The longest pause before the second attempt; each next one may be twice as long. */
    static final Duration PAUSE = Duration.ofMillis(50);
    /** The longest pause of all. */
    static final Duration PAUSE_MOST = Duration.ofSeconds(1);
    /** Retries that may have been saved up. */
    static final int RETRY_BUDGET = 100;
    /** Retries of broken connections that may have been saved up: a restart breaks each call at once. */
    static final int CONNECTION_RETRY_BUDGET = 1_000;
    /** So many successes save up another retry. */
    static final int SUCCESSES_FOR_A_RETRY = 10;

    /** Where the socket is when nothing says otherwise. */
    static final String DEFAULT_SOCKET = "/run/lunasec/lunasec.sock";
    /** What a masked value shows. */
    static final String MASK = "••••";

    private Limits() {}
}
