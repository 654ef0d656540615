package lunasec

// Exposed is a token that JSON and text encoders write as its text: for an answer that hands a token to whoever may have
// it. fmt and logs still print it redacted.
type Exposed struct{ Token }

// MarshalJSON is the token's text.
func (e Exposed) MarshalJSON() ([]byte, error) { return encode(e.Expose()) }

// MarshalText is the token's text.
func (e Exposed) MarshalText() ([]byte, error) { return []byte(e.Expose()), nil }
