package lunasechttp

import "time"

const (
	// mostFields of one request that a route handles; more are refused as payload_too_large.
	mostFields = 10_000
	// batchItems of one call, by the contract.
	batchItems = 1_000
	// bodyBytes of a request or an answer that are read as JSON, unless [MaxBytes] says otherwise.
	bodyBytes = 16 << 20
	// pagePatience is what a page waits for all that it can do without.
	pagePatience = 2 * time.Second
	// hopeless is for what a page asks once it has waited for that long in vain: enough for a sidecar that is back.
	hopeless = 50 * time.Millisecond
	// retryAfter is what is said where nobody knows.
	retryAfter = time.Second
)
