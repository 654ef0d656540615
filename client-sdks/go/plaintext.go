package lunasec

import (
	"crypto/subtle"
	"database/sql/driver"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"unicode/utf8"

	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/internal/jsontext"
)

// Plaintext is a value in the clear, that prints redacted until it is asked: [Plaintext.Reveal] for text,
// [Plaintext.RevealBytes] for bytes. Make one with [Text], [Bytes] or [Base64]. Two are compared by [Plaintext.Equal].
// The zero Plaintext is the empty text.
type Plaintext struct {
	inside *sealed
}

type sealed struct {
	noise []byte
	form  form
}

type form uint8

const (
	asText form = iota
	asBytes
	// asBase64 is bytes, in the words of whoever gave them.
	asBase64
)

// Text is a value that is text, in UTF-8.
func Text(text string) Plaintext { return Plaintext{&sealed{padded(text), asText}} }

// Bytes is a value that is bytes, of a file for example. Later changes of them change nothing here.
func Bytes(bytes []byte) Plaintext { return Plaintext{&sealed{padded(bytes), asBytes}} }

// Base64 is a value that is bytes, given as their base64, which the sidecar checks.
func Base64(text string) Plaintext { return Plaintext{&sealed{padded(text), asBase64}} }

// IsText says whether it was tokenized as text, or as bytes.
func (p Plaintext) IsText() bool { return p.inside == nil || p.inside.form == asText }

// ErrNotText is what Reveal gives for a value that is bytes, which may be no text.
var ErrNotText = errors.New("lunasec: this value was tokenized as bytes, not as text: ask for them with RevealBytes()")

// Reveal gives the text. It fails with [ErrNotText] where the value was tokenized as bytes.
func (p Plaintext) Reveal() (string, error) {
	if !p.IsText() {
		return "", ErrNotText
	}
	return string(p.raw()), nil
}

// RevealBytes gives the bytes; of a text, those of its UTF-8. Changing them changes nothing else.
func (p Plaintext) RevealBytes() []byte {
	raw := p.raw()
	if p.inside != nil && p.inside.form == asBase64 {
		bytes, _ := base64.StdEncoding.DecodeString(string(raw))
		return bytes
	}
	return raw
}

// Equal reports whether both are the same value, in a time that does not tell where they differ.
func (p Plaintext) Equal(other Plaintext) bool {
	return p.IsText() == other.IsText() && subtle.ConstantTimeCompare(p.RevealBytes(), other.RevealBytes()) == 1
}

func (p Plaintext) raw() []byte {
	if p.inside == nil {
		return nil
	}
	return padded(p.inside.noise)
}

// Format prints redacted, whatever the verb.
func (p Plaintext) Format(state fmt.State, _ rune) { fmt.Fprint(state, plaintextPrint) }

// String is redacted; see [Plaintext.Reveal].
func (p Plaintext) String() string { return plaintextPrint }

// GoString is redacted.
func (p Plaintext) GoString() string { return plaintextPrint }

// LogValue is redacted.
func (p Plaintext) LogValue() slog.Value { return slog.StringValue(plaintextPrint) }

// MarshalJSON is redacted.
func (p Plaintext) MarshalJSON() ([]byte, error) { return []byte(`"` + plaintextPrint + `"`), nil }

// MarshalText is redacted.
func (p Plaintext) MarshalText() ([]byte, error) { return []byte(plaintextPrint), nil }

// MarshalBinary refuses: what cannot be read is not to be lost unnoticed.
func (p Plaintext) MarshalBinary() ([]byte, error) {
	return nil, errors.New("lunasec: a Plaintext does not encode itself: keep its token instead")
}

// UnmarshalText takes what a user sent as text, so that it prints redacted from there on. It refuses what is no UTF-8.
func (p *Plaintext) UnmarshalText(text []byte) error {
	if !utf8.Valid(text) {
		return failure(invalidRequest, "the text is not UTF-8")
	}
	*p = Text(string(text))
	return nil
}

// UnmarshalJSON takes what a user sent as a text of JSON, as it was sent: it refuses what encoding/json would replace.
func (p *Plaintext) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return nil
	}
	var text *string
	if err := json.Unmarshal(raw, &text); err != nil || text == nil {
		return failure(invalidRequest, "this is no text of JSON")
	}
	if wrong := jsontext.Wrong(raw); wrong != "" {
		return failuref(invalidRequest, "this is no text: %s", wrong)
	}
	*p = Text(*text)
	return nil
}

// UnmarshalBinary refuses: see [Plaintext.MarshalBinary].
func (p *Plaintext) UnmarshalBinary([]byte) error {
	return errors.New("lunasec: a Plaintext does not decode itself: keep its token instead")
}

// Value refuses to be stored in a database, which is to hold its token.
func (p Plaintext) Value() (driver.Value, error) {
	return nil, errors.New("lunasec: a Plaintext is not stored: tokenize it, and store the Token")
}

// IsMask reports whether a text is what is shown when a value is not available.
func isMask(text string) bool {
	return len(text) <= printedBytes && strings.TrimSpace(text) == Mask
}

// refuseValue says why it must not be tokenized; nil where it may.
func refuseValue(p Plaintext, raw []byte) error {
	if p.IsText() && !utf8.Valid(raw) {
		return failure(invalidRequest, "the text is not UTF-8, which is all that can be sent as text; tokenize it as Bytes instead")
	}
	// Longer bytes are no text that something printed; a longer text may have a print in it.
	if !p.IsText() && len(raw) > printedBytes {
		return nil
	}
	text := string(raw)
	if isMask(text) {
		return failure(invalidRequest, "this is the mask that is shown when a value is not available, not a value: tokenize the value")
	}
	return refusePrinted(text)
}

// refusePrinted: it would be kept in the place of what it was printed for.
func refusePrinted(text string) error {
	if what, instead := printedAs(text); what != "" {
		return failuref(invalidRequest, "this is how a %s prints, not what it holds: %s", what, instead)
	}
	return nil
}
