//! Every limit and every default.

use std::time::Duration;

/// Items of one batch, by the contract.
pub(crate) const BATCH_ITEMS: usize = 1_000;
/// Bytes of a batch's body, by the contract.
pub(crate) const BATCH_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of a body that lists tokens, by the contract.
pub(crate) const TOKEN_LIST_BYTES: usize = 1024 * 1024;
/// Bytes of one answer's body that are read.
pub(crate) const ANSWER_BYTES: usize = BATCH_BYTES + 64 * 1024;
/// Bytes of an answer's head that are read.
pub(crate) const ANSWER_HEAD_BYTES: usize = 64 * 1024;
/// Bytes of all that a request says beside its body; the sidecar takes heads of 16 KiB.
pub(crate) const HEAD_BYTES: usize = 14 * 1024;
/// Bytes of a session, by the contract.
pub(crate) const SESSION_BYTES: usize = 1_024;
/// Bytes of a socket's path that the kernel takes.
pub(crate) const PATH_BYTES: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// For a call that fails where nobody answers: a little more than the sidecar gives itself.
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);
/// For a call that shows something else instead: a page waits for it.
pub(crate) const DISPLAY_DEADLINE: Duration = Duration::from_secs(2);
/// The longest time that is waited for; longer ones are this.
pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 24 * 60 * 60);
/// For what a page asks once it has waited in vain: enough for a sidecar that is back.
#[cfg(feature = "tower")]
pub(crate) const HOPELESS_DEADLINE: Duration = Duration::from_millis(50);
/// After so long, and the time that a page waits, a request that still goes on may wait again.
#[cfg(feature = "tower")]
pub(crate) const PAGE_PATIENCE_BACK: Duration = Duration::from_secs(30);
/// Bytes of a JSON body that an extractor reads.
#[cfg(feature = "axum")]
pub(crate) const REQUEST_BYTES: usize = 2 * 1024 * 1024;
/// Fields of one request or answer; more are refused.
#[cfg(feature = "axum")]
pub(crate) const FIELDS: usize = 10_000;
/// How long the first calls wait for the socket.
pub(crate) const START_DEADLINE: Duration = Duration::from_secs(10);
/// How long calls wait for the socket to come back.
pub(crate) const RESTART_GRACE: Duration = Duration::from_secs(2);
/// Requests made to find out whose item had a whole batch refused: enough for one among a thousand.
pub(crate) const SEARCHES: usize = 24;
/// Connections to the socket, of each runtime.
pub(crate) const CONNECTIONS: usize = 16;
/// Runtimes that connections are kept for; beyond, all begin anew.
pub(crate) const RUNTIMES: usize = 1_024;
/// Calls under way; more are refused as `overloaded`.
pub(crate) const PENDING_CALLS: usize = 10_000;
/// How long a connection is kept without a request: less than the ten seconds of a crowded sidecar.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(8);
/// For a connection to the socket.
pub(crate) const CONNECT: Duration = Duration::from_secs(1);

/// Attempts of a call, the first included.
pub(crate) const ATTEMPTS: u32 = 3;
/// Attempts of a call whose connection broke, whatever is configured: a restart does not surface.
pub(crate) const CONNECTION_ATTEMPTS: u32 = 3;
/// The longest pause before the second attempt; each next one may be twice as long.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);
/// The longest pause of all.
pub(crate) const PAUSE_MOST: Duration = Duration::from_secs(1);
/// Retries that may have been saved up.
pub(crate) const RETRY_BUDGET: u32 = 100;
/// Retries of broken connections that may have been saved up, at least; with many connections, twice as many as
/// those: a restart breaks each at once, and may do so again.
pub(crate) const CONNECTION_RETRY_BUDGET: u32 = 100;
/// So many successes save up another retry.
pub(crate) const SUCCESSES_FOR_A_RETRY: u32 = 10;

/// Where the socket is when nothing says otherwise.
pub(crate) const DEFAULT_SOCKET: &str = "/run/lunasec/lunasec.sock";
/// What says otherwise.
pub(crate) const SOCKET_VARIABLE: &str = "LUNASEC_SOCKET";
/// What a masked value shows.
pub(crate) const MASK: &str = "••••";
/// Longer texts are neither a mask, nor a token, nor what something prints as.
pub(crate) const SHORT_BYTES: usize = 256;
