package lunasec

import (
	"encoding/json"
	"time"
)

// Durability is where an acknowledged write is safe.
type Durability string

const (
	// Stored in central storage.
	Stored Durability = "stored"
	// Journaled on this sidecar's volume until storage is back: effective here at once, and perhaps not_found at other
	// sidecars until then.
	Journaled Durability = "journaled"
)

// Staleness is not zero only of an answer that is older than it should be, or was made while a dependency is away.
type Staleness struct {
	// Degraded is storage, keys, or storage,keys; empty for an answer that is as it should be.
	Degraded string
	// Age of the answer.
	Age time.Duration
}

// Outcome is what one item of a list came to: a Value, or an Err. One item's error is no other's.
type Outcome[T any] struct {
	// Token that it is about, where the call named one.
	Token Token
	Value T
	Err   error
}

// Get gives both as Go has them.
func (o Outcome[T]) Get() (T, error) { return o.Value, o.Err }

// Tokenized is what a tokenize gave.
type Tokenized struct {
	// Token to keep instead of the value.
	Token Token
	// Durability says where the value is safe.
	Durability Durability
}

// Value is one that was revealed.
type Value struct {
	// Token that it belongs to.
	Token Token
	// Plaintext of it; its Reveal gives the text.
	Plaintext Plaintext
	Staleness
}

// Reveal gives the text; see [Plaintext.Reveal].
func (v Value) Reveal() (string, error) { return v.Plaintext.Reveal() }

// RevealBytes gives the bytes; see [Plaintext.RevealBytes].
func (v Value) RevealBytes() []byte { return v.Plaintext.RevealBytes() }

// Described is a token's metadata.
type Described struct {
	// Metadata is a JSON object.
	Metadata json.RawMessage
	// Version is 0 until some is set, then one more with every set.
	Version   uint64
	CreatedAt time.Time
	// ExpiresAt is zero where the value is kept for ever.
	ExpiresAt time.Time
	Staleness
}

// Decode reads the metadata into what a pointer points to.
func (d Described) Decode(into any) error { return json.Unmarshal(d.Metadata, into) }

// Written is what setting metadata gave.
type Written struct {
	Durability Durability
	Version    uint64
}

// Granted is what a session may now do something with.
type Granted struct {
	// ExpiresAt is later than asked for where an earlier grant lasts longer.
	ExpiresAt  time.Time
	Durability Durability
}

// Verdict is whether a session may do something with a token.
type Verdict struct {
	Valid bool
	// ExpiresAt is when the grant ends, where it is valid.
	ExpiresAt time.Time
	// Reason is denied or expired where it is not valid.
	Reason string
	Staleness
}

// Refusal is why the session may not: [ErrGrantDenied] or [ErrGrantExpired]; nil where it may.
func (v Verdict) Refusal() error {
	switch {
	case v.Valid:
		return nil
	case v.Reason == "expired":
		return failure(grantExpired, "the session was granted this token, and not any more")
	default:
		return failure(grantDenied, "the session was not granted this token")
	}
}

// Revoked is what taking grants back gave.
type Revoked struct {
	// Tokens is of how many grants were taken back; nil for a whole session. It may be too low where the client had to ask
	// twice.
	Tokens     *uint64
	Durability Durability
}

// Deleted is a value that is no more, whether it was or not.
type Deleted struct {
	Durability Durability
}

// Status is what the sidecar says of itself.
type Status struct {
	Version       string
	UptimeSeconds uint64
	// Dependencies by name: storage, keys, and what newer sidecars have.
	Dependencies map[string]Dependency
	Journal      Journal
	// All is the whole answer, for what this version does not know.
	All json.RawMessage
}

// Dependency is one of the sidecar.
type Dependency struct {
	// State is up, degraded or down.
	State  string `json:"state"`
	Since  string `json:"since"`
	Reason string `json:"reason"`
}

// Journal is what waits for central storage.
type Journal struct {
	Pending       uint64  `json:"pending"`
	OldestSeconds float64 `json:"oldest_seconds"`
}

// Action is what a grant can allow.
type Action string

const (
	// Detokenize reveals the value.
	Detokenize Action = "detokenize"
	// ReadMetadata reads what is kept beside it.
	ReadMetadata Action = "metadata"
	// Update changes that.
	Update Action = "update"
	// Delete deletes the value.
	Delete Action = "delete"
)
