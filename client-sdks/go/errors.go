package lunasec

// What can go wrong. Every error of this package that a call comes to is an [*Error], and is one of these kinds for
// [errors.Is], under what an application does about it:
//
//	*Error                            Code, Detail, Retryable, Status, RequestID, RetryAfter()
//	├── ErrBadRequest                 mend the call; trying again changes nothing
//	│   ├── ErrInvalidRequest         invalid_request
//	│   ├── ErrInvalidToken           invalid_token
//	│   ├── ErrInvalidNamespace       invalid_namespace
//	│   ├── ErrPayloadTooLarge        payload_too_large
//	│   ├── ErrMethodNotAllowed       method_not_allowed
//	│   └── ErrUnsupportedMediaType   unsupported_media_type
//	├── ErrAccessDenied               the caller, or its user, may not
//	│   ├── ErrUnauthenticated        unauthenticated
//	│   ├── ErrForbidden              forbidden
//	│   ├── ErrGrantDenied            grant_denied
//	│   └── ErrGrantExpired           grant_expired
//	├── ErrGone                       there is no value, and there will be none
//	│   ├── ErrNotFound               not_found
//	│   └── ErrExpired                expired
//	├── ErrConflict                   conflict: read again, then decide
//	├── ErrRateLimited                rate_limited: the same again, after RetryAfter()
//	├── ErrUnavailable                the same again, later; what masks and fallbacks stand in for
//	│   ├── ErrSidecarUnreachable     sidecar_unreachable: nobody at the socket, or the connection broke
//	│   ├── ErrOverloaded             overloaded
//	│   ├── ErrStorageUnavailable     storage_unavailable
//	│   ├── ErrKeysUnavailable        keys_unavailable
//	│   ├── ErrJournalFull            journal_full
//	│   └── ErrDeadlineExceeded       deadline_exceeded, also of the call's own deadline
//	├── ErrSidecarFailed              the operator finds the cause in the log, under RequestID
//	│   ├── ErrCorrupted              corrupted
//	│   └── ErrInternal               internal
//	└── ErrProtocol                   protocol_error: the answer is not this contract's
//
// A code that this version does not know is of no kind: it may be a refusal, which no policy may hide. It is ErrUnavailable
// only where the answer's status says so (5xx) and the sidecar that it is retryable. A call whose context was cancelled
// ends with what [errors.Is] knows as [context.Canceled]; one whose context had a deadline ends with ErrDeadlineExceeded,
// which is also [context.DeadlineExceeded], or with what went wrong before.
//
// No error holds a token, a value or a session.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// kind is one place in the tree. Its name is what all SDKs call it.
type kind struct {
	name   string
	code   string
	parent *kind
}

func (k *kind) Error() string { return "lunasec: " + k.name }

func (k *kind) is(other *kind) bool {
	for at := k; at != nil; at = at.parent {
		if at == other {
			return true
		}
	}
	return false
}

var (
	badRequest    = &kind{name: "BadRequest"}
	accessDenied  = &kind{name: "AccessDenied"}
	gone          = &kind{name: "Gone"}
	unavailable   = &kind{name: "Unavailable"}
	sidecarFailed = &kind{name: "SidecarFailed"}

	invalidRequest       = &kind{"InvalidRequest", "invalid_request", badRequest}
	invalidToken         = &kind{"InvalidToken", "invalid_token", badRequest}
	invalidNamespace     = &kind{"InvalidNamespace", "invalid_namespace", badRequest}
	payloadTooLarge      = &kind{"PayloadTooLarge", "payload_too_large", badRequest}
	methodNotAllowed     = &kind{"MethodNotAllowed", "method_not_allowed", badRequest}
	unsupportedMediaType = &kind{"UnsupportedMediaType", "unsupported_media_type", badRequest}
	unauthenticated      = &kind{"Unauthenticated", "unauthenticated", accessDenied}
	forbidden            = &kind{"Forbidden", "forbidden", accessDenied}
	grantDenied          = &kind{"GrantDenied", "grant_denied", accessDenied}
	grantExpired         = &kind{"GrantExpired", "grant_expired", accessDenied}
	notFound             = &kind{"NotFound", "not_found", gone}
	expired              = &kind{"Expired", "expired", gone}
	conflict             = &kind{"Conflict", "conflict", nil}
	rateLimited          = &kind{"RateLimited", "rate_limited", nil}
	sidecarUnreachable   = &kind{"SidecarUnreachable", "sidecar_unreachable", unavailable}
	overloaded           = &kind{"Overloaded", "overloaded", unavailable}
	storageUnavailable   = &kind{"StorageUnavailable", "storage_unavailable", unavailable}
	keysUnavailable      = &kind{"KeysUnavailable", "keys_unavailable", unavailable}
	journalFull          = &kind{"JournalFull", "journal_full", unavailable}
	deadlineExceeded     = &kind{"DeadlineExceeded", "deadline_exceeded", unavailable}
	corrupted            = &kind{"Corrupted", "corrupted", sidecarFailed}
	internal             = &kind{"Internal", "internal", sidecarFailed}
	protocol             = &kind{"ProtocolError", "protocol_error", nil}
)

// The kinds of errors, for [errors.Is]. The first five are those above others.
var (
	ErrBadRequest    error = badRequest
	ErrAccessDenied  error = accessDenied
	ErrGone          error = gone
	ErrUnavailable   error = unavailable
	ErrSidecarFailed error = sidecarFailed

	ErrInvalidRequest       error = invalidRequest
	ErrInvalidToken         error = invalidToken
	ErrInvalidNamespace     error = invalidNamespace
	ErrPayloadTooLarge      error = payloadTooLarge
	ErrMethodNotAllowed     error = methodNotAllowed
	ErrUnsupportedMediaType error = unsupportedMediaType
	ErrUnauthenticated      error = unauthenticated
	ErrForbidden            error = forbidden
	ErrGrantDenied          error = grantDenied
	ErrGrantExpired         error = grantExpired
	ErrNotFound             error = notFound
	ErrExpired              error = expired
	ErrConflict             error = conflict
	ErrRateLimited          error = rateLimited
	ErrSidecarUnreachable   error = sidecarUnreachable
	ErrOverloaded           error = overloaded
	ErrStorageUnavailable   error = storageUnavailable
	ErrKeysUnavailable      error = keysUnavailable
	ErrJournalFull          error = journalFull
	ErrDeadlineExceeded     error = deadlineExceeded
	ErrCorrupted            error = corrupted
	ErrInternal             error = internal
	ErrProtocol             error = protocol
)

// byCode are the kinds of the codes that a sidecar gives.
var byCode = func() map[string]*kind {
	known := map[string]*kind{}
	for _, each := range []*kind{
		invalidRequest, invalidToken, invalidNamespace, payloadTooLarge, methodNotAllowed, unsupportedMediaType,
		unauthenticated, forbidden, grantDenied, grantExpired, notFound, expired, conflict, rateLimited,
		overloaded, storageUnavailable, keysUnavailable, journalFull, deadlineExceeded, corrupted, internal,
	} {
		known[each.code] = each
	}
	return known
}()

// Error is what a call comes to that did not work.
type Error struct {
	// Code is for programs: the contract's, or sidecar_unreachable, or protocol_error.
	Code string
	// Detail is for people: what happened and what to do.
	Detail string
	// Retryable says whether the same call may succeed later. The client has tried already, as far as its policy goes.
	Retryable bool
	// Status is the HTTP status of the answer; 0 where there was no answer, and for an item of a batch.
	Status int
	// RequestID names the request in the sidecar's log, where there was an answer.
	RequestID string

	kind       *kind
	retryAfter time.Duration
	knownAfter bool
	// sent: the request had left, and a write may have been done.
	sent bool
	// closed: because the client was closed, which is the application's own doing, and no policy stands in for it.
	closed bool
	cause  error
}

func (e *Error) Error() string { return "lunasec: " + e.Code + ": " + e.Detail }

// RetryAfter is the time after which to try again, and whether the sidecar said one.
func (e *Error) RetryAfter() (time.Duration, bool) { return e.retryAfter, e.knownAfter }

// Is reports whether the error is of a kind; see [ErrUnavailable] and the others.
func (e *Error) Is(target error) bool {
	if other, ok := target.(*kind); ok {
		return e.kind != nil && e.kind.is(other)
	}
	return target == context.DeadlineExceeded && e.kind == deadlineExceeded && e.Status == 0
}

// Unwrap gives what caused it, which is not printed with it.
func (e *Error) Unwrap() error { return e.cause }

// Class is the name that all SDKs share for what it is: StorageUnavailable, GrantDenied, …; LunaSecError for a code that
// this version does not know.
func (e *Error) Class() string {
	if e.kind == nil {
		return "LunaSecError"
	}
	return e.kind.name
}

// Format prints what Error gives, whatever the verb.
func (e *Error) Format(state fmt.State, _ rune) { fmt.Fprint(state, e.Error()) }

// LogValue is what an application may show of it: not its cause.
func (e *Error) LogValue() slog.Value {
	attributes := []slog.Attr{
		slog.String("code", e.Code), slog.String("detail", e.Detail), slog.Bool("retryable", e.Retryable),
	}
	if e.RequestID != "" {
		attributes = append(attributes, slog.String("request_id", e.RequestID))
	}
	return slog.GroupValue(attributes...)
}

// MarshalJSON gives what an application may show of it: not its cause.
func (e *Error) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Code      string `json:"code"`
		Detail    string `json:"detail"`
		Retryable bool   `json:"retryable"`
	}{e.Code, e.Detail, e.Retryable})
}

func failure(kind *kind, detail string) *Error {
	return &Error{Code: kind.code, Detail: detail, kind: kind}
}

func failuref(kind *kind, format string, about ...any) *Error {
	return failure(kind, fmt.Sprintf(format, about...))
}

func (e *Error) because(cause error) *Error {
	e.cause = cause
	return e
}

// later marks what may succeed if it is tried again.
func (e *Error) later() *Error {
	e.Retryable = true
	return e
}

// coded is the error of a code that the sidecar gave.
func coded(code, detail string, retryable bool, status int) *Error {
	known := byCode[code]
	if known == nil && retryable && status >= 500 {
		known = unavailable
	}
	return &Error{Code: code, Detail: detail, Retryable: retryable, Status: status, kind: known}
}

// asError gives the error of this package that it is, or nil.
func asError(err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	return nil
}

// NewError makes an error of a code of the contract, as integrations do for what they refuse by themselves.
func NewError(code, detail string, retryable bool) *Error {
	if code == protocol.code {
		return failure(protocol, detail)
	}
	return coded(code, detail, retryable, 0)
}
