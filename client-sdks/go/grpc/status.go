package lunasecgrpc

import (
	"context"
	"errors"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
)

// The sidecar's own gRPC interface says the same of each code.
var byCode = map[string]codes.Code{
	"invalid_request":        codes.InvalidArgument,
	"invalid_token":          codes.InvalidArgument,
	"invalid_namespace":      codes.InvalidArgument,
	"unauthenticated":        codes.Unauthenticated,
	"forbidden":              codes.PermissionDenied,
	"grant_denied":           codes.PermissionDenied,
	"grant_expired":          codes.PermissionDenied,
	"not_found":              codes.NotFound,
	"expired":                codes.NotFound,
	"method_not_allowed":     codes.Unimplemented,
	"unsupported_media_type": codes.Unimplemented,
	"conflict":               codes.Aborted,
	"payload_too_large":      codes.ResourceExhausted,
	"rate_limited":           codes.ResourceExhausted,
	"deadline_exceeded":      codes.DeadlineExceeded,
	"corrupted":              codes.DataLoss,
}

// What whoever called is told: other words name rules, sockets and limits of the process.
var wordsOf = []struct {
	kind  error
	words string
}{
	{lunasec.ErrInvalidToken, "this is no token"},
	{lunasec.ErrPayloadTooLarge, "this is too large"},
	{lunasec.ErrBadRequest, "this cannot be taken; change it"},
	{lunasec.ErrUnauthenticated, "this needs a session"},
	{lunasec.ErrGrantExpired, "this session may not use it any more"},
	{lunasec.ErrAccessDenied, "this session may not use it"},
	{lunasec.ErrGone, "there is no value any more"},
	{lunasec.ErrRateLimited, "too many requests; try again later"},
	{lunasec.ErrUnavailable, "this cannot be answered just now; try again later"},
	{lunasec.ErrConflict, "it was changed meanwhile; read it again"},
}

const failed = "this failed, and not by what was asked for"

// statusOf what a call ends with. ours: whoever called is not to blame for what was wrong with a message. here: it is for
// the application that calls, which runs the client that failed, and is told all of it.
func statusOf(err error, ours, here bool) error {
	var known *lunasec.Error
	if !errors.As(err, &known) {
		return foreign(err)
	}
	code, ok := byCode[known.Code]
	bad := errors.Is(err, lunasec.ErrBadRequest)
	switch {
	case ours && bad:
		code = codes.Internal
	case !ok && (known.Retryable || errors.Is(err, lunasec.ErrUnavailable)):
		code = codes.Unavailable
	case !ok:
		code = codes.Internal
	}
	var field *fieldError
	words := failed
	if here {
		words = known.Detail
	} else if !ours || !bad {
		words = publicWords(err)
	}
	if errors.As(err, &field) {
		if field.told && !ours {
			words = known.Detail
		}
		words = field.where + ": " + known.Code + ": " + words
	} else {
		words = known.Code + ": " + words
	}
	return withDetails(status.New(code, words), known)
}

func publicWords(err error) string {
	for _, row := range wordsOf {
		if errors.Is(err, row.kind) {
			return row.words
		}
	}
	return failed
}

func withDetails(said *status.Status, known *lunasec.Error) error {
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{
		Reason: known.Code, Domain: "lunasec", Metadata: map[string]string{"retryable": strconv.FormatBool(known.Retryable)},
	}}
	if after, ok := known.RetryAfter(); ok {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	}
	detailed, err := said.WithDetails(details...)
	if err != nil {
		return said.Err()
	}
	return detailed.Err()
}

// foreign is what an application's own function gave: its status, if it is one; its words may say anything, so that they
// stay here.
func foreign(err error) error {
	if errors.Is(err, context.Canceled) {
		return status.Error(codes.Canceled, "the call was given up")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return status.Error(codes.DeadlineExceeded, "the call took too long")
	}
	if said, ok := status.FromError(err); ok {
		return said.Err()
	}
	return status.Error(codes.Internal, "a function of the interceptor failed")
}
