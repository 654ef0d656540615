package lunasec

import (
	"strings"
	"unicode/utf8"
)

// said is what a request says beside its body: where, for whom, and what for.
type said struct {
	namespace, session, jwt, purpose string
}

// spoken are the header lines that say it. Two are the same if their lines are.
type spoken struct {
	lines string
}

func (s said) spoken() (spoken, error) {
	var lines strings.Builder
	for _, row := range [...]struct{ header, what, scheme, text string }{
		{"lunasec-namespace", "namespace", "", s.namespace},
		{"lunasec-session", "session", "", s.session},
		{"authorization", "JWT", "Bearer ", s.jwt},
		{"lunasec-purpose", "purpose", "", s.purpose},
	} {
		if row.text == "" {
			continue
		}
		if err := sayable(row.what, row.text); err != nil {
			return spoken{}, err
		}
		lines.WriteString(row.header + ": " + row.scheme + row.text + "\r\n")
	}
	if lines.Len() > headBytes {
		return spoken{}, failure(invalidRequest, "namespace, session, JWT and purpose are longer than 14 KiB together, which is more than a request can say beside its body; shorten them")
	}
	return spoken{lines.String()}, nil
}

// sayable checks a header's value: its UTF-8 is how the sidecar reads it. Spaces at the ends are lost on the way, so that
// it would arrive as somebody else's.
func sayable(what, text string) error {
	control := func(char rune) bool { return char < 0x20 || char == 0x7f }
	if text == "" || strings.TrimSpace(text) != text || strings.ContainsFunc(text, control) || !utf8.ValidString(text) {
		return failuref(invalidRequest, "the %s cannot be sent: it is UTF-8 text without control characters, at least one character, and with no space at either end", what)
	}
	return nil
}
