package lunasechttp_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/lunasechttp"
)

func TestEveryCodeHasAnAnswerThatSaysNothingOfTheInside(t *testing.T) {
	for code, status := range map[string]int{
		"invalid_request": 400, "invalid_token": 400, "unauthenticated": 401, "forbidden": 403, "grant_denied": 403,
		"grant_expired": 403, "not_found": 404, "conflict": 409, "expired": 410, "payload_too_large": 413, "rate_limited": 429,
		"overloaded": 503, "storage_unavailable": 503, "keys_unavailable": 503, "journal_full": 503, "deadline_exceeded": 503,
		"corrupted": 500, "internal": 500, "protocol_error": 500, "method_not_allowed": 500, "invalid_namespace": 500,
		"something_newer": 500,
	} {
		problem, ok := lunasechttp.ProblemOf(fmt.Errorf("outside: %w", lunasec.NewError(code, "inner words", true)))
		if !ok || problem.Status != status || strings.Contains(problem.Detail, "inner") {
			t.Errorf("%s: %+v", code, problem)
		}
		if problem.Retryable != (status == 429 || status == 503) {
			t.Errorf("%s: %+v", code, problem)
		}
		if (problem.Code == "internal") != (status == 500) {
			t.Errorf("%s: %+v", code, problem)
		}
	}
	if _, ok := lunasechttp.ProblemOf(errors.New("other")); ok {
		t.Error("another error is one of LunaSec's")
	}
}
