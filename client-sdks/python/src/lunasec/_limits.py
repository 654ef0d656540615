"""Every bound and default of the client, named once. The contract's own bounds are the sidecar's to enforce."""

import sys
from typing import Final

# Items of one batch, by the contract.
BATCH_ITEMS: Final = 1_000
# Bytes of a batch's body, by the contract.
BATCH_BYTES: Final = 16 * 1024 * 1024
# Bytes of a body that lists tokens, by the contract.
TOKEN_LIST_BYTES: Final = 1024 * 1024
# Bytes of one answer's body that are read: a batch's, and a little for what stands around it.
ANSWER_BYTES: Final = BATCH_BYTES + 64 * 1024
# Bytes of all that a request says beside its body; the sidecar takes heads of 16 KiB.
HEAD_BYTES: Final = 14 * 1024
# Bytes of a socket's path that the kernel takes; of a longer one it would look for the beginning.
PATH_BYTES: Final = 107 if sys.platform == "linux" else 103

# Seconds for a call that fails where nobody answers: a little more than the sidecar gives itself.
DEADLINE: Final = 15.0
# Seconds for a call that shows something else instead: a page waits for it.
DISPLAY_DEADLINE: Final = 2.0
# The longest time that may be asked for, 24 days, as in all SDKs: some timers keep no longer one.
LONGEST: Final = 2_147_483.647
# For what a page asks once it has waited for that long in vain: enough for a sidecar that is back.
HOPELESS_DEADLINE: Final = 0.05
# Seconds that the first calls wait for the socket.
START_DEADLINE: Final = 10.0
# Seconds that calls wait for the socket to come back.
RESTART_GRACE: Final = 2.0
# Requests made to find out whose item had a whole batch refused: enough for one among a thousand. Beyond, all that are
# left are refused, for it is not an item's fault, but what is said of all of them.
SEARCHES: Final = 24
# Connections to the socket.
CONNECTIONS: Final = 16
# Calls under way; more are refused as `overloaded`.
PENDING_CALLS: Final = 10_000
# Of PENDING_CALLS, what one session has at most: the others go on.
SESSION_SHARE: Final = 0.5
# ... and what it has at most of calls that are a request each, which others wait behind.
ALONE_SHARE: Final = 0.1
# Seconds that a connection is kept without a request: less than the ten of a crowded sidecar.
KEEP_ALIVE: Final = 8.0
# Seconds after which a wait looks again: who would have ended it may have come, in a signal's handler, as it began.
LOOK_AGAIN: Final = 0.05
# Seconds for a connection to the socket.
CONNECT: Final = 1.0
# Bytes that are read from a connection at once.
READ_BYTES: Final = 64 * 1024

# Attempts of a call, the first included.
ATTEMPTS: Final = 3
# Attempts of a call whose connection broke, whatever is configured: a restart does not surface.
CONNECTION_ATTEMPTS: Final = 3
# Seconds of the longest pause before the second attempt; each next one may be twice as long.
PAUSE: Final = 0.05
# Seconds of the longest pause of all.
PAUSE_MOST: Final = 1.0
# Retries that may have been saved up.
RETRY_BUDGET: Final = 100
# Retries of broken connections that may have been saved up, at least; with many connections, twice as many as those: a
# restart breaks each at once, and may do so again.
CONNECTION_RETRY_BUDGET: Final = 100
# So many successes save up another retry.
SUCCESSES_FOR_A_RETRY: Final = 10

# Bytes longer than these are no text that something printed.
PRINTED_BYTES: Final = 256
# Fields of one HTTP request that a route handles; more are refused as `payload_too_large`.
FIELDS: Final = 10_000
# Values and tokens of one gRPC call: more are refused as `payload_too_large`.
GRPC_ITEMS_IN: Final = 2_000
GRPC_ITEMS_OUT: Final = 5_000
# How deep messages and documents are looked into.
DEPTH: Final = 100

# Where the socket is when nothing says otherwise.
DEFAULT_SOCKET: Final = "/run/lunasec/lunasec.sock"
# What a masked value shows.
MASK: Final = "\u2022\u2022\u2022\u2022"
