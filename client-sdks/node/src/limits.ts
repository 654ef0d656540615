/** Every bound and default of the client, named once. The contract's own bounds are the sidecar's to enforce. */

/** Items of one batch, by the contract. */
export const BATCH_ITEMS = 1_000;
/** Bytes of a batch's body, by the contract. */
export const BATCH_BYTES = 16 * 1024 * 1024;
/** Bytes of a body that lists tokens, by the contract. */
export const TOKEN_LIST_BYTES = 1024 * 1024;
/** Bytes of one answer that are read: a batch's, and its head. */
export const ANSWER_BYTES = BATCH_BYTES + 64 * 1024;
/** Bytes of all that a request says beside its body; the sidecar takes heads of 16 KiB. */
export const HEAD_BYTES = 14 * 1024;

/** For a call that fails where nobody answers: a little more than the sidecar gives itself. */
export const DEADLINE_MS = 15_000;
/** For a call that shows something else instead: a page waits for it. */
export const DISPLAY_DEADLINE_MS = 2_000;
/** The longest time that may be asked for: a timer of Node.js keeps no longer one. */
export const LONGEST_MS = 2 ** 31 - 1;
/** For what a page asks once it has waited for that long in vain: enough for a sidecar that is back. */
export const HOPELESS_DEADLINE_MS = 50;
/** How long the first calls wait for the socket. */
export const START_DEADLINE_MS = 10_000;
/** How long calls wait for the socket to come back. */
export const RESTART_GRACE_MS = 2_000;
/**
 * Requests made to find out whose item had a whole batch refused: enough for one among a thousand. Beyond, all that are left
 * are refused, for it is not an item's fault, but what is said of all of them.
 */
export const SEARCHES = 24;
/** Connections to the socket. */
export const CONNECTIONS = 16;
/** Calls under way; more are refused as `overloaded`. */
export const PENDING_CALLS = 10_000;
/** Of {@link PENDING_CALLS}, what one session has at most: the others go on. */
export const SESSION_SHARE = 0.5;
/** … and what it has at most of calls that are a request each, which others wait behind. */
export const ALONE_SHARE = 0.1;
/** How long a connection is kept without a request: less than the ten seconds of a crowded sidecar. */
export const KEEP_ALIVE_MS = 8_000;
/** For a connection to the socket. */
export const CONNECT_MS = 1_000;

/** Attempts of a call, the first included. */
export const ATTEMPTS = 3;
/** Attempts of a call whose connection broke, whatever is configured: a restart does not surface. */
export const CONNECTION_ATTEMPTS = 3;
/** The longest pause before the second attempt; each next one may be twice as long. */
export const PAUSE_MS = 50;
/** The longest pause of all. */
export const PAUSE_MOST_MS = 1_000;
/** Retries that may have been saved up. */
export const RETRY_BUDGET = 100;
/**
 * Retries of broken connections that may have been saved up, at least; with many connections, twice as many as those: a
 * restart breaks each at once, and may do so again.
 */
export const CONNECTION_RETRY_BUDGET = 100;
/** So many successes save up another retry. */
export const SUCCESSES_FOR_A_RETRY = 10;

/** Fields of one HTTP request that a route handles; more are refused as `payload_too_large`. */
export const FIELDS = 10_000;

/** Values and tokens that one request brings which is not an HTTP route's: a part of {@link PENDING_CALLS}. */
export const ITEMS_IN = 2_000;
/** Tokens that its answer reveals or grants: what the application gives, and still only a part. */
export const ITEMS_OUT = 5_000;

/** Where the socket is when nothing says otherwise. */
export const DEFAULT_SOCKET = '/run/lunasec/lunasec.sock';
/** What a masked value shows. */
export const MASK = '••••';
