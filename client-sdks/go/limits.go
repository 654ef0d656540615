package lunasec

import "time"

// Every bound and default of the client, named once. The contract's own bounds are the sidecar's to enforce.
const (
	// batchItems is how many items a batch has at most, by the contract.
	batchItems = 1_000
	// batchBytes bounds a batch's body, by the contract.
	batchBytes = 16 << 20
	// tokenListBytes bounds a body that lists tokens, by the contract.
	tokenListBytes = 1 << 20
	// answerBytes of one answer are read: a batch's, and its head.
	answerBytes = batchBytes + 64<<10
	// headBytes bounds what a request says beside its body; the sidecar takes heads of 16 KiB.
	headBytes = 14 << 10
	// keptBufferBytes is what a connection keeps of a buffer that one large request needed.
	keptBufferBytes = 64 << 10

	// defaultDeadline is for a whole call, its retries included.
	defaultDeadline = 15 * time.Second
	// displayDeadline is for a call that shows something else instead: a page waits for it.
	displayDeadline = 2 * time.Second
	// longest is the longest time that may be asked for.
	longest = 24 * 24 * time.Hour
	// defaultStartDeadline is how long the first calls wait for the socket.
	defaultStartDeadline = 10 * time.Second
	// defaultRestartGrace is how long calls wait for the socket to come back.
	defaultRestartGrace = 2 * time.Second
	// leastPause keeps those who wait for a socket from asking in a loop.
	leastPause = time.Millisecond

	// searches are the requests made to find out whose item had a whole batch refused: enough for one among a thousand.
	// Beyond, all that are left are refused, for it is not an item's fault, but what is said of all of them.
	searches = 24
	// defaultConnections to the socket.
	defaultConnections = 16
	// defaultPendingCalls under way; more are refused as overloaded.
	defaultPendingCalls = 10_000
	// sessionShare is the divisor of the pending calls that gives what one session has at most: the others go on.
	sessionShare = 2
	// aloneShare is the divisor that gives what it has at most of calls that are a request each, which others wait behind.
	aloneShare = 10
	// keepAlive is how long a connection is kept without a request: less than the ten seconds of a crowded sidecar.
	keepAlive = 8 * time.Second
	// connectTimeout is for a connection to the socket.
	connectTimeout = time.Second

	// lonelyFlights is how many requests of one kind are under way before further calls are gathered into one.
	lonelyFlights = 4
	// gatherTime is how long a gathered call waits at most for one of those to come back.
	gatherTime = 2 * time.Millisecond

	// defaultAttempts of a call, the first included.
	defaultAttempts = 3
	// connectionAttempts of a call whose connection broke, whatever is configured: a restart does not surface.
	connectionAttempts = 3
	// defaultPause is the longest pause before the second attempt; each next one may be twice as long.
	defaultPause = 50 * time.Millisecond
	// defaultPauseMost is the longest pause of all.
	defaultPauseMost = time.Second
	// defaultRetryBudget is how many retries may have been saved up.
	defaultRetryBudget = 100
	// connectionRetryBudget is the same for broken connections, at least; with many connections, twice as many as those: a
	// restart breaks each at once, and may do so again.
	connectionRetryBudget = 100
	// successesForARetry save up another retry.
	successesForARetry = 10

	// printedBytes is longer than any token, mask or print: longer bytes are none of them.
	printedBytes = 256
)

// DefaultSocket is where the socket is when nothing says otherwise.
const DefaultSocket = "/run/lunasec/lunasec.sock"

// Mask is what a masked value shows.
const Mask = "••••"
