package lunasec

import (
	"crypto/rand"
	"strings"
)

// What a token and a plaintext print as, and what the client then refuses to take for one.
const (
	tokenPrint     = "[lunasec token: Expose() gives its text]"
	plaintextPrint = "[lunasec plaintext: Reveal() gives its text]"
)

// What such things of the other SDKs print as begins the same way.
const (
	tokenPrintStart     = "[lunasec token"
	plaintextPrintStart = "[lunasec plaintext"
)

// pad is of this process alone. What prints memory by reflection, past every method, as test frameworks and debuggers do,
// prints noise. It keeps nothing secret from whoever can read the process.
var pad = func() (bytes [4096]byte) {
	if _, err := rand.Read(bytes[:]); err != nil {
		panic("lunasec: the system gives no random bytes: " + err.Error())
	}
	return bytes
}()

func padded[T ~string | ~[]byte](text T) []byte {
	noise := make([]byte, len(text))
	for at := 0; at < len(text); {
		block := min(len(text)-at, len(pad))
		for i := range block {
			noise[at+i] = text[at+i] ^ pad[i]
		}
		at += block
	}
	return noise
}

// printedAs says what it is that printed a text, and what to give instead; empty where nothing did.
func printedAs(text string) (what, instead string) {
	switch {
	case !strings.Contains(text, "[lunasec "):
		return "", ""
	case strings.Contains(text, tokenPrintStart):
		return "Token", "store what Expose() gives"
	case strings.Contains(text, plaintextPrintStart):
		return "Plaintext", "give the Plaintext itself, or what Reveal() gives"
	default:
		return "", ""
	}
}
