package lunasecgrpc

import (
	"fmt"
	"log/slog"
)

// Who makes a call: the text that the application knows the user's session by, and their JWT where the sidecar asks for
// one. The zero Who has no session. It prints redacted.
type Who struct{ Session, JWT string }

const whoPrint = "[lunasecgrpc who]"

// Format prints redacted, whatever the verb.
func (w Who) Format(state fmt.State, _ rune) { fmt.Fprint(state, whoPrint) }

// String is redacted.
func (w Who) String() string { return whoPrint }

// GoString is redacted.
func (w Who) GoString() string { return whoPrint }

// LogValue is redacted.
func (w Who) LogValue() slog.Value { return slog.StringValue(whoPrint) }

// MarshalJSON is redacted.
func (w Who) MarshalJSON() ([]byte, error) { return []byte(`"` + whoPrint + `"`), nil }

// MarshalText is redacted.
func (w Who) MarshalText() ([]byte, error) { return []byte(whoPrint), nil }
