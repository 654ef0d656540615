package lunasec

import (
	"errors"
	"fmt"
	"log/slog"
	"unique"
)

// Token is what to keep instead of a value.
//
// It prints redacted wherever something prints by itself: fmt with any verb, log, slog, JSON, XML, YAML. To hand it to a
// browser, ask for its text: [Token.Expose]. database/sql stores its text, and [Token.Scan] reads it. Tokens are equal by
// == where their texts are, and can be keys of maps. The zero Token is none.
type Token struct {
	// Noise behind a pointer: neither %v of what has it in an unexported field nor what follows pointers shows it.
	inside unique.Handle[noise]
	is     bool
}

type noise string

// TokenOf is the token of a text, as an application has it from its database. Whether it is one is the sidecar's to say,
// but what a Token or a Plaintext prints as is refused by every call.
func TokenOf(text string) Token {
	return Token{inside: unique.Make(noise(padded(text))), is: true}
}

// TokensOf are the tokens of some texts.
func TokensOf(texts ...string) []Token {
	tokens := make([]Token, len(texts))
	for i, text := range texts {
		tokens[i] = TokenOf(text)
	}
	return tokens
}

// Expose gives the text, lunasec- and a UUID: for a database, a form, a URL's body, and not for a log.
func (t Token) Expose() string {
	if !t.is {
		return ""
	}
	return string(padded(t.inside.Value()))
}

// IsZero reports whether it is no token at all.
func (t Token) IsZero() bool { return !t.is }

// Format prints redacted, whatever the verb.
func (t Token) Format(state fmt.State, _ rune) { fmt.Fprint(state, tokenPrint) }

// String is redacted; see [Token.Expose].
func (t Token) String() string { return tokenPrint }

// GoString is redacted.
func (t Token) GoString() string { return tokenPrint }

// LogValue is redacted.
func (t Token) LogValue() slog.Value { return slog.StringValue(tokenPrint) }

// MarshalJSON is redacted: to send a token, put what Expose gives into what is marshalled.
func (t Token) MarshalJSON() ([]byte, error) { return []byte(`"` + tokenPrint + `"`), nil }

// MarshalText is redacted, for XML, YAML and keys of maps.
func (t Token) MarshalText() ([]byte, error) { return []byte(tokenPrint), nil }

// MarshalBinary refuses: what cannot be read is not to be lost unnoticed.
func (t Token) MarshalBinary() ([]byte, error) {
	return nil, errors.New("lunasec: a Token does not encode itself: encode what Expose() gives")
}

// UnmarshalText takes the text of a token, as of a request; also from JSON. It refuses whatever is none.
func (t *Token) UnmarshalText(text []byte) error {
	token, err := ParseToken(string(text))
	if err != nil {
		return err
	}
	*t = token
	return nil
}

// UnmarshalBinary refuses: see [Token.MarshalBinary].
func (t *Token) UnmarshalBinary([]byte) error {
	return errors.New("lunasec: a Token does not decode itself: decode its text, and use ParseToken")
}

// ParseToken is the token of a text that must be one: lunasec- and a UUID in lower case.
func ParseToken(text string) (Token, error) {
	if err := refusePrintedToken(text); err != nil {
		return Token{}, err
	}
	if !isToken(text) {
		return Token{}, failure(invalidToken, "a token is lunasec- and a UUID in lower case; this is none")
	}
	return TokenOf(text), nil
}

func refusePrintedToken(text string) error {
	if what, instead := printedAs(text); what != "" {
		return failuref(invalidToken, "this is how a %s prints, not a token: %s; what was stored here is lost", what, instead)
	}
	return nil
}

const (
	tokenPrefix = "lunasec-"
	tokenLength = len(tokenPrefix) + 36
)

func isToken(text string) bool {
	if len(text) != tokenLength || text[:len(tokenPrefix)] != tokenPrefix {
		return false
	}
	for i, char := range []byte(text[len(tokenPrefix):]) {
		switch i {
		case 8, 13, 18, 23:
			if char != '-' {
				return false
			}
		default:
			if !(char >= '0' && char <= '9' || char >= 'a' && char <= 'f') {
				return false
			}
		}
	}
	return true
}
