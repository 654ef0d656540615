//! Every bound of the product, named once. Configuration may lower those of `[limits]`, never raise them;
//! other times are defaults where they say so.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Bytes of one value.
pub const VALUE_BYTES: usize = MIB;
/// Bytes of one token's metadata, as JSON text.
pub const METADATA_BYTES: usize = 16 * KIB;
/// Levels of arrays and objects inside metadata.
pub const METADATA_DEPTH: usize = 32;
/// Bytes of a session identifier; at least one.
pub const SESSION_BYTES: usize = KIB;
/// Bytes of a namespace's name; at least one.
pub const NAMESPACE_BYTES: usize = 63;
/// Entries of any list in a request, and items of a batch; at least one.
pub const LIST_ITEMS: usize = 1_000;
/// Bytes of a batch's body, and of its answer.
pub const BATCH_BYTES: usize = 16 * MIB;
/// Bytes of a single tokenize body: JSON may spell one byte as `\u00XX`, six times its size.
pub const TOKENIZE_BODY_BYTES: usize = 6 * (VALUE_BYTES + METADATA_BYTES) + 4 * KIB;
/// Bytes of a metadata/set body, for the same reason.
pub const METADATA_BODY_BYTES: usize = 6 * METADATA_BYTES + 4 * KIB;
/// Bytes of a body that carries one token and nothing else.
pub const TOKEN_BODY_BYTES: usize = 4 * KIB;
/// Bytes of a body that lists tokens.
pub const TOKEN_LIST_BODY_BYTES: usize = MIB;
/// Items of a batch that are read from storage at once.
pub const BATCH_CONCURRENCY: usize = 32;
/// Values of batches that are open at once, on their way into their answers.
pub const BATCH_VALUES: usize = 64;
/// Bytes of an idempotency key; at least one.
pub const IDEMPOTENCY_KEY_BYTES: usize = 255;
/// Requests remembered for their idempotency key, with a state directory. When there are more within
/// [`IDEMPOTENCY_WINDOW`], the oldest half is forgotten.
pub const IDEMPOTENCY_ENTRIES: u64 = 1_000_000;
/// The fewest that may be configured: a batch must not push out its own beginning.
pub const IDEMPOTENCY_ENTRIES_LEAST: u64 = 4 * LIST_ITEMS as u64;
/// The same, where they are held in memory only.
pub const IDEMPOTENCY_ENTRIES_IN_MEMORY: u64 = 50_000;
/// How long a retry finds its first answer, at least.
pub const IDEMPOTENCY_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// Longest `expires_in`: a hundred years.
pub const EXPIRES_IN: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Connections on the socket; more are answered `overloaded` and closed.
pub const CONNECTIONS: usize = 1_024;
/// Refused connections that may linger at once, so that their clients can read why.
pub const REFUSALS: usize = 256;
/// Connections on the admin listener.
pub const ADMIN_CONNECTIONS: usize = 64;
/// Files of the sidecar's own: its store, log, journal, and connections to its dependencies.
pub const OTHER_FILES: usize = 256;
/// Requests at work at once; more are answered `overloaded`.
pub const REQUESTS: usize = 1_024;
/// Bytes of request bodies and of answers held at once, but for small ones.
pub const BODY_BYTES_IN_FLIGHT: usize = 256 * MIB;
/// Bodies and answers up to this size do not count, so that large ones cannot keep them out: as many
/// as there are requests at work hold 64 MiB.
pub const SMALL_BODY_BYTES: usize = 32 * KIB;
/// Bytes of a request's head, and its number of headers.
pub const HEAD_BYTES: usize = 16 * KIB;
/// Headers of one request.
pub const HEADERS: usize = 64;
/// From the start of a request to its answer.
pub const REQUEST_TIME: Duration = Duration::from_secs(10);
/// For one request to storage: less than a request of our own may take, so that its answer says that
/// storage is away.
pub const STORAGE_TIME: Duration = Duration::from_secs(7);
/// From a request's first byte to the end of its head.
pub const HEAD_TIME: Duration = Duration::from_secs(5);
/// The same on the admin listener: a probe does not wait, and silent connections are few.
pub const ADMIN_HEAD_TIME: Duration = Duration::from_secs(1);
/// For a new connection's first byte.
pub const FIRST_BYTE_TIME: Duration = Duration::from_secs(30);
/// Between two requests of one connection.
pub const IDLE_TIME: Duration = Duration::from_secs(300);
/// The same, while there are as many connections as there may be.
pub const IDLE_TIME_CROWDED: Duration = Duration::from_secs(10);
/// How long a connection beyond the limit may take to show its protocol, before it is refused in
/// HTTP/1.1.
pub const PROTOCOL_TIME: Duration = Duration::from_millis(100);

/// Requests at once on one HTTP/2 connection.
pub const STREAMS: u32 = 100;
/// Bytes of one HTTP/2 frame.
pub const FRAME_BYTES: u32 = 16 * 1024;
/// Bytes that one HTTP/2 request may send before they are read.
pub const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
/// Bytes that one HTTP/2 connection may send before they are read.
pub const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// Bytes of one HTTP/2 answer that are handed on at once.
pub const SEND_BUFFER_BYTES: usize = 64 * KIB;
/// HTTP/2 requests that a client may take back before they are looked at; more end its connection.
pub const RESET_STREAMS: usize = 100;
/// How often an HTTP/2 client is asked whether it is there, and how long it may take to say so.
pub const PING_INTERVAL: Duration = Duration::from_secs(60);
/// See [`PING_INTERVAL`].
pub const PING_TIME: Duration = Duration::from_secs(30);
/// gRPC calls of health and reflection whose answers are open at once.
pub const OPEN_CALLS: usize = 256;
/// Bytes of a message to health and reflection.
pub const SMALL_MESSAGE_BYTES: usize = 4 * KIB;

/// How long, and for how many bytes, a refused request is still read so that its client sees the
/// refusal instead of a broken pipe.
pub const LINGER_TIME: Duration = Duration::from_secs(2);
/// See [`LINGER_TIME`].
pub const LINGER_BYTES: usize = 64 * MIB;
/// For reading the configuration again.
pub const CONFIG_READ_TIME: Duration = Duration::from_secs(5);
/// Between two lines of the log that say of different requests that they fail alike.
pub const LOG_PAUSE: Duration = Duration::from_secs(10);
/// From SIGTERM to the last answer.
pub const DRAIN_TIME: Duration = Duration::from_secs(25);

/// Bytes of a Unix socket's path: `sockaddr_un` has 108, one of them a terminator.
pub const SOCKET_PATH_BYTES: usize = 107;

/// Requests to a shared store at once; more wait for their turn.
pub const STORAGE_REQUESTS: usize = 64;
/// Those that may wait; more are answered `overloaded`. Sixteen batches' worth.
pub const STORAGE_WAITING: usize = 16 * BATCH_CONCURRENCY;
/// Requests to the keeper of keys at once.
pub const KEYS_REQUESTS: usize = 32;
/// Those that may wait for that.
pub const KEYS_WAITING: usize = 256;
/// How long one may wait for its turn at either: longer, and whoever asked would rather have been told.
pub const TURN_TIME: Duration = Duration::from_secs(1);
/// For one attempt of a request to a shared store, its body included.
pub const STORAGE_ATTEMPT_TIME: Duration = Duration::from_secs(2);
/// The same for the keeper of keys.
pub const KEYS_ATTEMPT_TIME: Duration = Duration::from_secs(2);
/// Attempts of a request that was not answered: all of them together fit into [`STORAGE_TIME`], and with the longest waits
/// for their turns into [`REQUEST_TIME`].
pub const ATTEMPTS: u32 = 3;
/// Requests beyond those that somebody asked for.
#[derive(Clone, Copy, Debug)]
pub struct Extra {
    /// Of a hundred that somebody asked for.
    pub percent: u64,
    /// However few these are.
    pub each_second: u64,
    /// That may have been saved up.
    pub at_once: u64,
}

/// Second and third attempts at one dependency.
pub const RETRIES: Extra = Extra { percent: 20, each_second: 10, at_once: 100 };
/// Reads that are sent a second time because the first is slow.
pub const HEDGES: Extra = Extra { percent: 5, each_second: 0, at_once: 10 };
/// The last so many reads decide what is slow: what takes longer than 95 of a hundred of them did.
pub const HEDGE_SAMPLES: usize = 100;
/// After so many more reads, what is slow is decided again.
pub const HEDGE_RENEWAL: usize = 20;
/// What takes no longer than that is never slow.
pub const HEDGE_LEAST: Duration = Duration::from_millis(10);
/// The longest pause before the second attempt; each next one may be twice as long.
pub const ATTEMPT_PAUSE: Duration = Duration::from_millis(100);
/// For a connection to AWS.
pub const AWS_CONNECT_TIME: Duration = Duration::from_secs(1);
/// For how long a connection to AWS is kept unused: where a network has forgotten those that there were, new ones are made.
pub const AWS_IDLE_TIME: Duration = Duration::from_secs(10);
/// For finding credentials.
pub const CREDENTIALS_TIME: Duration = Duration::from_secs(2);

/// Bytes of a record up to which it is read without waiting for a turn, once that is known.
pub const SMALL_RECORD: usize = 16 * KIB;
/// Sessions whose place and state are remembered.
pub const SESSIONS_OPENED: usize = 4_096;
/// Grants, and values that they are for, whose place and end are remembered, at about 400 bytes each.
pub const GRANTS_OPENED: usize = 16_384;
/// Requests in a row that storage does not answer, until it counts as away.
pub const BREAKER_FAILURES: u32 = 3;
/// What comes to nothing after so long was not answered at all; so many second attempts in a row, while nothing else was
/// answered, say the same.
pub const SILENCE: Duration = Duration::from_millis(500);
/// How often it is then probed.
pub const BREAKER_PAUSE: Duration = Duration::from_secs(1);
/// Where nobody has asked for so long, whoever does waits for a probe rather than to be told what was found out before.
pub const BREAKER_MEMORY: Duration = Duration::from_secs(10);
/// What a probe may take: as long as an attempt, for what answers slowly answers.
pub const BREAKER_PROBE_TIME: Duration = Duration::from_secs(2);

/// Bytes of memory for remembered values and metadata, unless the operator says otherwise.
pub const CACHED_VALUE_BYTES: usize = 64 * MIB;
/// The same for grants and sessions: apart, so that no flood of values pushes them out.
pub const CACHED_GRANT_BYTES: usize = 16 * MIB;
/// The most of either that can be configured.
pub const CACHE_BYTES_MOST: usize = 64 * 1024 * MIB;
/// After how long a value or its metadata is read again on the side, unless the operator says otherwise.
pub const CACHED_VALUE_SOFT: Duration = Duration::from_secs(40);
/// How long what another sidecar deleted, or wrote as metadata, may go unseen, while storage answers; as before.
pub const CACHED_VALUE_AGE: Duration = Duration::from_secs(60);
/// The same, while it does not.
pub const CACHED_VALUE_HARD: Duration = Duration::from_secs(24 * 3600);
/// The most that can be configured of these: then no data key is held any more.
pub const CACHED_VALUE_HARD_MOST: Duration = KEY_EXTENSION;
/// After how long a grant is read again on the side, unless the operator says otherwise.
pub const CACHED_GRANT_SOFT: Duration = Duration::from_secs(20);
/// How long another sidecar's revoke of a grant may go unseen, while storage answers; as before.
pub const CACHED_GRANT_AGE: Duration = Duration::from_secs(30);
/// The same, while it does not.
pub const CACHED_GRANT_HARD: Duration = Duration::from_secs(15 * 60);
/// The most that can be configured of these.
pub const CACHED_GRANT_HARD_MOST: Duration = Duration::from_secs(24 * 3600);
/// How long what another sidecar wrote where nothing was may go unseen.
pub const CACHED_NOTHING_AGE: Duration = Duration::from_secs(1);

/// Bytes of what waits in a journal, unless the operator says otherwise, and at most.
pub const JOURNAL_BYTES: usize = 256 * MIB;
/// See [`JOURNAL_BYTES`].
pub const JOURNAL_BYTES_MOST: usize = 4_096 * MIB;
/// For how long something may wait there, unless the operator says otherwise, and at most: what was deleted
/// meanwhile has to be known still, see [`JOURNAL_MARGIN`]. As long as a data key seals without KMS.
pub const JOURNAL_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// See [`JOURNAL_AGE`].
pub const JOURNAL_AGE_MOST: Duration = Duration::from_secs(14 * 24 * 3600);
/// How much longer tombstones are kept than a journal, for clocks that differ and for what is under way.
pub const JOURNAL_MARGIN: Duration = Duration::from_secs(24 * 3600);
/// How long one step of a request waits for storage before the journal takes what is written: several fit into
/// [`REQUEST_TIME`], and so does a second attempt into this.
pub const JOURNAL_PATIENCE: Duration = Duration::from_secs(3);
/// For one request to the journal's disk: with [`STORAGE_TIME`] it fits into [`REQUEST_TIME`].
pub const JOURNAL_TIME: Duration = Duration::from_secs(2);
/// After storage has not answered, how long writes go to the journal without asking it.
pub const JOURNAL_LEAD: Duration = Duration::from_secs(1);
/// Entries that are replayed in one step.
pub const REPLAY_PAGE: usize = 256;
/// Bytes of them.
pub const REPLAY_PAGE_BYTES: usize = 8 * MIB;
/// Entries that are replayed at once, when all goes well: half of [`STORAGE_REQUESTS`], so that others get
/// their turn.
pub const REPLAY_CONCURRENCY: usize = 32;
/// How often it is looked whether a journal that is too old is so still.
pub const REPLAY_STALE_PAUSE: Duration = Duration::from_secs(60);
/// How often the log says that a journal is too old.
pub const REPLAY_STALE_REMINDER: Duration = Duration::from_secs(3600);
/// Entries that are named, each for itself, as ones that wait for a reason of their own.
pub const REFUSED_NAMED: usize = 64;
/// Objects that storage refuses to write of which it is known that it does.
pub const REFUSED_KNOWN: usize = 1_024;
/// The longest pause after something could not be replayed.
pub const REPLAY_PAUSE: Duration = Duration::from_secs(1);
/// What storage refuses is tried again after twice as many rounds each time, with such a pause between them, and at most
/// so many: about a minute.
pub const REPLAY_ROUNDS: u64 = 128;
/// Entries of one object that wait although storage answers; more are `overloaded`. Of what takes something back, and of
/// sessions, four times as many.
pub const JOURNAL_CROWD: u32 = 256;
/// For how long those who write one object without a pause may wait for what waits already.
pub const CATCH_UP_TIME: Duration = Duration::from_secs(4);

/// Bytes of what is kept of storage on this machine's disk, unless the operator says otherwise, and at most.
pub const DISK_CACHE_BYTES: usize = 256 * MIB;
/// See [`DISK_CACHE_BYTES`].
pub const DISK_CACHE_BYTES_MOST: usize = 4_096 * MIB;
/// Objects that wait to be written there; more are not kept.
pub const KEPT_QUEUE: usize = 1_024;

/// How far this machine's clock may be from storage's before it is reported.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// A wall clock that is set back by no more while the sidecar runs is waited for; after more, what was kept by it goes.
pub const CLOCK_STEP: Duration = Duration::from_secs(60);

/// Retired keys that may still unwrap.
pub const ACCEPTED_KEYS: usize = 16;

/// One data key's epoch.
pub const KEY_EPOCH: Duration = Duration::from_secs(24 * 3600);
/// How long before its epoch the next data key is made.
pub const KEY_AHEAD: Duration = Duration::from_secs(2 * 3600);
/// How old an epoch's key may be and still seal, while no newer one can be had.
pub const KEY_EXTENSION: Duration = Duration::from_secs(7 * 24 * 3600);
/// Unwrapped data keys in memory.
pub const KEYS_IN_MEMORY: usize = 4_096;
/// How long an unwrapped key stays in memory.
pub const KEY_AGE: Duration = Duration::from_secs(24 * 3600);
/// How long after another key was made for its epoch a sidecar may still seal under the one before.
pub const KEY_REFRESH: Duration = Duration::from_secs(15 * 60);
/// After a failure to make the next key, how long until it is tried again.
pub const KEY_RETRY: Duration = Duration::from_secs(10);
/// How long a key that the keeper has refused is not asked for again.
pub const KEY_REFUSED: Duration = Duration::from_secs(1);

/// How long a grant lasts unless it says otherwise, and at most, unless the operator says otherwise.
pub const GRANT_TIME: Duration = Duration::from_secs(15 * 60);
/// See [`GRANT_TIME`].
pub const GRANT_TIME_MOST: Duration = Duration::from_secs(24 * 3600);
/// How much longer than its grants a session's object is kept, so that it is seldom written.
pub const SESSION_AHEAD: Duration = Duration::from_secs(24 * 3600);

/// Generations of one session that count at once: each sidecar that makes grants for a session that it cannot
/// look up begins one.
pub const SESSION_GENERATIONS: usize = 8;
/// Revokes of all grants of a session that its object lists. Where two sidecars knew nothing of each other, and one
/// of them has revoked more often than this, its older revokes are taken for as late as the oldest listed.
pub const SESSION_REVOKES: usize = 8;

/// Bytes of a JWT: it has to fit into a request's head.
pub const JWT_BYTES: usize = 12 * KIB;
/// How far an issuer's clock may be from this machine's, unless the operator says otherwise, and at most.
pub const JWT_SKEW: Duration = Duration::from_secs(60);
/// See [`JWT_SKEW`].
pub const JWT_SKEW_MOST: Duration = Duration::from_secs(300);
/// JWTs that are remembered as proven, by their digests.
pub const JWTS_PROVEN: usize = 10_000;
/// Bytes of an issuer's keys.
pub const JWKS_BYTES: usize = 256 * KIB;
/// Keys of one issuer.
pub const JWKS_KEYS: usize = 100;
/// For reading them.
pub const JWKS_TIME: Duration = Duration::from_secs(3);
/// Requests that wait for one reading at once: a small part of those that may be at work.
pub const JWKS_WAITING: usize = 128;
/// How often they are read, while that succeeds.
pub const JWKS_REFRESH: Duration = Duration::from_secs(5 * 60);
/// The least time between two readings: after a failure, and for a key that is not among them.
pub const JWKS_PAUSE: Duration = Duration::from_secs(10);
/// How long the last keys that could be read are believed.
pub const JWKS_AGE: Duration = Duration::from_secs(24 * 3600);

/// Attempts of a conditional write that keeps losing to others.
pub const WRITE_ATTEMPTS: usize = 16;
/// How long after its expiry a record is kept, unless the operator says otherwise.
pub const EXPIRED_GRACE: Duration = Duration::from_secs(24 * 3600);
/// How long a tombstone is kept, unless the operator says otherwise.
pub const TOMBSTONE_GRACE: Duration = Duration::from_secs(30 * 24 * 3600);
/// A tombstone must outlive every retry of the tokenize it answers, or the retry would bring the
/// value back.
pub const TOMBSTONE_GRACE_LEAST: Duration = Duration::from_secs(48 * 3600);
/// Names per listing page, and per step of a sweep.
pub const PAGE: usize = 1_000;

/// Objects of a shared store of which one step of a sweep reads the heads, each by a request of its own:
/// with their removals they fit into [`REQUEST_TIME`].
pub const HEADS: usize = 200;

/// Bytes of one CSV row or JSON line that the file commands hold.
pub const ROW_BYTES: usize = 8 * MIB;

/// Bytes of `lunasec-purpose`, and of a canary's note: what is written into the audit trail or the log as it was said.
pub const RECORDED_BYTES: usize = 1_024;
/// Records that wait for the audit trail's spool in memory; of more, those that nobody waits for are dropped.
pub const AUDIT_QUEUE: usize = 65_536;
/// Records that are written at once, and taken back together where that fails.
pub const AUDIT_PIECE: usize = 128;
/// How long a request waits for its records to be in the spool.
pub const AUDIT_TIME: Duration = Duration::from_secs(2);
/// Their sync begins no later than that after records were written.
pub const AUDIT_SYNC: Duration = Duration::from_millis(100);
/// Between two attempts to write what could not be written.
pub const AUDIT_RETRY: Duration = Duration::from_secs(1);
/// The spool's thread looks around so often where there is nothing to do.
pub const AUDIT_IDLE: Duration = Duration::from_secs(3600);
/// Bytes of one segment of the spool; the next one begins another.
pub const AUDIT_SEGMENT: u64 = 4 * MIB as u64;
/// Bytes that no sink has taken yet.
pub const AUDIT_SPOOL: usize = 256 * MIB;
/// See [`AUDIT_SPOOL`]: all records of any one request have room in an empty one.
pub const AUDIT_SPOOL_LEAST: usize = 4 * MIB;
/// See [`AUDIT_SPOOL`].
pub const AUDIT_SPOOL_MOST: usize = 64 * 1_024 * MIB;
/// Bytes of an audit file, about; then it is put aside.
pub const AUDIT_FILE: usize = 64 * MIB;
/// See [`AUDIT_FILE`].
pub const AUDIT_FILE_MOST: usize = 64 * 1_024 * MIB;
/// A sink looks so often whether its file was put aside, and waits so long before it tries again.
pub const AUDIT_SINK_PAUSE: Duration = Duration::from_secs(1);
/// It keeps how far it has come each time that it has taken so much more.
pub const AUDIT_SINK_BYTES: u64 = 8 * MIB as u64;
/// After it has taken what there was, so that more has come meanwhile.
pub const AUDIT_SINK_REST: Duration = Duration::from_millis(50);
/// Bytes of the trail that are read, or taken on, at once; a line is far shorter.
pub const AUDIT_CHUNK: usize = 256 * 1_024;
/// How long the spool's thread waits for its sinks where the spool is full. Longer than a sink rests.
pub const AUDIT_ROOM: Duration = Duration::from_millis(250);
/// Between two anchors of a chain that grows.
pub const AUDIT_ANCHOR: Duration = Duration::from_secs(300);
/// Until an anchor that storage has not taken is tried again, for the first time; then twice as long each time, up to
/// [`AUDIT_ANCHOR`].
pub const AUDIT_ANCHOR_RETRY: Duration = Duration::from_secs(2);
/// Chains that processes have left and that are not anchored yet: of more, the first ones stay without.
pub const AUDIT_LEFT: usize = 4_096;
/// After so many of them that were anchored, which are left is kept on the disk anew.
pub const AUDIT_LEFT_KEPT: usize = 64;
/// Bytes of the file that keeps them, of which a line has 118 at most.
pub const AUDIT_LEFT_BYTES: u64 = 1 << 20;
