package lunasec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestEveryCodeIsOfItsKindAndOfThoseAbove(t *testing.T) {
	for _, row := range []struct {
		code, class string
		itself, of  error
	}{
		{"invalid_request", "InvalidRequest", ErrInvalidRequest, ErrBadRequest},
		{"invalid_token", "InvalidToken", ErrInvalidToken, ErrBadRequest},
		{"invalid_namespace", "InvalidNamespace", ErrInvalidNamespace, ErrBadRequest},
		{"payload_too_large", "PayloadTooLarge", ErrPayloadTooLarge, ErrBadRequest},
		{"method_not_allowed", "MethodNotAllowed", ErrMethodNotAllowed, ErrBadRequest},
		{"unsupported_media_type", "UnsupportedMediaType", ErrUnsupportedMediaType, ErrBadRequest},
		{"unauthenticated", "Unauthenticated", ErrUnauthenticated, ErrAccessDenied},
		{"forbidden", "Forbidden", ErrForbidden, ErrAccessDenied},
		{"grant_denied", "GrantDenied", ErrGrantDenied, ErrAccessDenied},
		{"grant_expired", "GrantExpired", ErrGrantExpired, ErrAccessDenied},
		{"not_found", "NotFound", ErrNotFound, ErrGone},
		{"expired", "Expired", ErrExpired, ErrGone},
		{"conflict", "Conflict", ErrConflict, ErrConflict},
		{"rate_limited", "RateLimited", ErrRateLimited, ErrRateLimited},
		{"overloaded", "Overloaded", ErrOverloaded, ErrUnavailable},
		{"storage_unavailable", "StorageUnavailable", ErrStorageUnavailable, ErrUnavailable},
		{"keys_unavailable", "KeysUnavailable", ErrKeysUnavailable, ErrUnavailable},
		{"journal_full", "JournalFull", ErrJournalFull, ErrUnavailable},
		{"deadline_exceeded", "DeadlineExceeded", ErrDeadlineExceeded, ErrUnavailable},
		{"corrupted", "Corrupted", ErrCorrupted, ErrSidecarFailed},
		{"internal", "Internal", ErrInternal, ErrSidecarFailed},
		{"protocol_error", "ProtocolError", ErrProtocol, ErrProtocol},
	} {
		err := error(NewError(row.code, "words", true))
		wrapped := fmt.Errorf("while charging: %w", err)
		if !errors.Is(wrapped, row.itself) || !errors.Is(wrapped, row.of) {
			t.Errorf("%s is not what it is", row.code)
		}
		for _, other := range []error{ErrBadRequest, ErrAccessDenied, ErrGone, ErrUnavailable, ErrSidecarFailed, ErrConflict, ErrRateLimited, ErrProtocol} {
			if other != row.of && errors.Is(err, other) {
				t.Errorf("%s is also %v", row.code, other)
			}
		}
		if class := asError(err).Class(); class != row.class {
			t.Errorf("%s is called %s", row.code, class)
		}
	}
}

func TestACodeOfANewerSidecarIsUnavailableOnlyWhereItsStatusSaysSo(t *testing.T) {
	for _, row := range []struct {
		status    int
		retryable bool
		class     string
	}{{503, true, "Unavailable"}, {503, false, "LunaSecError"}, {403, true, "LunaSecError"}, {0, true, "LunaSecError"}} {
		err := coded("something_newer", "words", row.retryable, row.status)
		if err.Class() != row.class || errors.Is(err, ErrUnavailable) != (row.class == "Unavailable") {
			t.Errorf("%+v: %s", row, err.Class())
		}
	}
}

func TestAnErrorPrintsWhatItSaysAndNotItsCause(t *testing.T) {
	err := failure(storageUnavailable, "words").because(errors.New("secret cause"))
	err.RequestID = "r-1"
	out := prints(t, err)
	if strings.Contains(out, "secret") || !strings.Contains(out, "storage_unavailable") || !strings.Contains(out, "r-1") {
		t.Error(out)
	}
	if errors.Unwrap(err) == nil {
		t.Error("the cause is lost")
	}
	text, failed := json.Marshal(err)
	if failed != nil || string(text) != `{"code":"storage_unavailable","detail":"words","retryable":false}` {
		t.Errorf("%s, %v", text, failed)
	}
}

func TestTheDeadlineOfACallIsAlsoGosOwn(t *testing.T) {
	if !errors.Is(late(nil, limits{patience: time.Second}), context.DeadlineExceeded) {
		t.Error("a call's own deadline is not context.DeadlineExceeded")
	}
	if errors.Is(coded("deadline_exceeded", "words", true, 504), context.DeadlineExceeded) {
		t.Error("the sidecar's deadline is that of the call's context")
	}
}
