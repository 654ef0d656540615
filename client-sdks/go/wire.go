package lunasec

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/internal/jsontext"
)

// An answer's members, by their exact names: encoding/json would let a struct's fields match in any case.
type members map[string]json.RawMessage

// answered is what an answer says: its body, and what its head says of its age.
type answered struct {
	body members
	raw  []byte
	age  Staleness
}

// misread is never told what could not be read: it may be a value.
func misread(what string) *Error {
	return failuref(protocol, "the answer was not understood: %s; is something else listening, or are client and sidecar of different versions?", what)
}

func object(raw json.RawMessage, what string) (members, error) {
	var found members
	if err := json.Unmarshal(raw, &found); err != nil || found == nil {
		return nil, misread(what + " is no object")
	}
	return found, nil
}

func (m members) list(name string) ([]json.RawMessage, error) {
	var found []json.RawMessage
	if err := json.Unmarshal(m.of(name), &found); err != nil || found == nil {
		return nil, misread(name + " is no list")
	}
	return found, nil
}

// of is null for what is not there.
func (m members) of(name string) json.RawMessage {
	if raw, ok := m[name]; ok {
		return raw
	}
	return json.RawMessage("null")
}

func (m members) has(name string) bool {
	_, ok := m[name]
	return ok
}

func (m members) text(name string) (string, error) {
	raw := m[name]
	if len(raw) < 2 || raw[0] != '"' {
		return "", misread(name + " is no text")
	}
	if inner := raw[1 : len(raw)-1]; !strings.Contains(string(inner), `\`) {
		return string(inner), nil
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil || jsontext.Wrong(raw) != "" {
		return "", misread(name + " is no text")
	}
	return text, nil
}

func (m members) flag(name string) (bool, error) {
	switch string(m[name]) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	default:
		return false, misread(name + " is neither true nor false")
	}
}

func (m members) count(name string) (uint64, error) {
	count, err := strconv.ParseUint(string(m[name]), 10, 53)
	if err != nil {
		return 0, misread(name + " is no count")
	}
	return count, nil
}

func (m members) time(name string) (time.Time, error) {
	text, err := m.text(name)
	if err != nil {
		return time.Time{}, err
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, misread(name + " is no time")
	}
	return at, nil
}

func (m members) durability() (Durability, error) {
	text, err := m.text("durability")
	if err != nil {
		return "", err
	}
	switch known := Durability(text); known {
	case Stored, Journaled:
		return known, nil
	default:
		return "", misread("durability is neither stored nor journaled")
	}
}

func (m members) plaintext() (Plaintext, error) {
	value, err := m.text("value")
	if err != nil {
		return Plaintext{}, err
	}
	encoding, err := m.text("encoding")
	if err != nil {
		return Plaintext{}, err
	}
	switch encoding {
	case "utf8":
		return Text(value), nil
	case "base64":
		bytes, err := base64.StdEncoding.Strict().DecodeString(value)
		// The decoder passes over line breaks, which the contract has not.
		if err != nil || strings.ContainsAny(value, "\r\n") {
			return Plaintext{}, misread("a value is not base64")
		}
		return Bytes(bytes), nil
	default:
		return Plaintext{}, misread("an encoding is neither utf8 nor base64")
	}
}

// staleness stands beside an item's answer, else in the head of all.
func (m members) staleness(ofAll Staleness) (Staleness, error) {
	if !m.has("degraded") {
		return ofAll, nil
	}
	degraded, err := m.text("degraded")
	if err != nil || !m.has("age") {
		return Staleness{Degraded: degraded}, err
	}
	age, err := m.count("age")
	return Staleness{degraded, seconds(age)}, err
}

func seconds(count uint64) time.Duration {
	return time.Duration(min(count, uint64(math.MaxInt64/time.Second))) * time.Second
}

// itemError is the error of one item; the second one says why there is none.
func (m members) itemError() (*Error, error) {
	wire, err := object(m.of("error"), "an error")
	if err != nil {
		return nil, err
	}
	return wire.coded(0)
}

func (m members) coded(status int) (*Error, error) {
	code, err := m.text("code")
	if err != nil {
		return nil, err
	}
	detail, err := m.text("detail")
	if err != nil {
		return nil, err
	}
	retryable, err := m.flag("retryable")
	if err != nil {
		return nil, err
	}
	return coded(code, detail, retryable, status), nil
}

// read gives the body of a success, or what else it is.
func read(answer *answer) (answered, error) {
	said, err := readBody(answer)
	if known := asError(err); known != nil {
		known.RequestID = answer.requestID
	}
	return said, err
}

func readBody(answer *answer) (answered, error) {
	kind, _, _ := strings.Cut(answer.contentType, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	if answer.status >= 400 {
		return answered{}, problem(answer, kind)
	}
	if answer.status != 200 || kind != "application/json" {
		return answered{}, misread("it is not JSON")
	}
	body, err := parsed(answer.body)
	return answered{body, answer.body, headStaleness(answer)}, err
}

func parsed(body []byte) (members, error) {
	// encoding/json would put something else in the place of what is no UTF-8: another value.
	if !utf8.Valid(body) {
		return nil, misread("its body is not UTF-8")
	}
	return object(body, "its body")
}

func headStaleness(answer *answer) Staleness {
	if answer.degraded == "" {
		return Staleness{}
	}
	age, err := strconv.ParseUint(answer.age, 10, 53)
	if err != nil {
		return Staleness{Degraded: answer.degraded}
	}
	return Staleness{answer.degraded, seconds(age)}
}

// problem is the error that an answer is: the sidecar's, or that it cannot be read.
func problem(answer *answer, kind string) error {
	if kind != "application/problem+json" {
		return misread("its status is " + strconv.Itoa(answer.status) + " without a problem")
	}
	wire, err := parsed(answer.body)
	if err != nil {
		return err
	}
	known, err := wire.coded(answer.status)
	if err != nil {
		return err
	}
	if after, err := strconv.ParseFloat(string(wire["retry_after_ms"]), 64); err == nil && after >= 0 {
		after = min(after, float64(longest.Milliseconds()))
		known.retryAfter, known.knownAfter = time.Duration(after*float64(time.Millisecond)), true
	}
	return known
}
