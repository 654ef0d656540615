package lunasec

import (
	"database/sql/driver"
	"errors"
)

// Scan reads a token from a column of text. What is no token is refused, so that a value that was stored in the clear by
// mistake is not handed on. For columns that may be NULL there is [NullToken].
func (t *Token) Scan(source any) error {
	var text string
	switch source := source.(type) {
	case string:
		text = source
	case []byte:
		text = string(source)
	case nil:
		return failure(invalidToken, "the column is NULL where a token is expected: scan into a NullToken")
	default:
		return failure(invalidToken, "the column holds no text, which a token is kept as")
	}
	token, err := ParseToken(text)
	if err != nil {
		return err
	}
	*t = token
	return nil
}

// Value is the text that database/sql stores. It refuses what is no token: what would be stored is no value that anybody
// could find again.
func (t Token) Value() (driver.Value, error) {
	if t.IsZero() {
		return nil, errors.New("lunasec: the zero Token is not stored: store a NullToken where there may be none")
	}
	text := t.Expose()
	if _, err := ParseToken(text); err != nil {
		return nil, err
	}
	return text, nil
}

// NullToken is a token or NULL, as [database/sql.NullString] is a text or NULL.
type NullToken struct {
	Token Token
	// Valid: it is a token.
	Valid bool
}

// Scan reads a token or NULL.
func (n *NullToken) Scan(source any) error {
	if source == nil {
		*n = NullToken{}
		return nil
	}
	var token Token
	if err := token.Scan(source); err != nil {
		return err
	}
	*n = NullToken{token, true}
	return nil
}

// Value is the token's text, or NULL.
func (n NullToken) Value() (driver.Value, error) {
	if !n.Valid {
		return nil, nil
	}
	return n.Token.Value()
}
