package lunasecgrpc

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
)

// Options of interceptors.
type Options struct {
	// Client of the sidecar.
	Client *lunasec.Client
	// Session of a call: of a server's, with what came in its context. It is asked once for each call that has something to
	// do. An error that is a gRPC status ends the call with that. See [FromMetadata].
	Session func(ctx context.Context, method string) (Who, error)
	// Instead of a value that nobody can read, a response shows what this gives; see [Masked]. Unless given, the call ends
	// with UNAVAILABLE.
	Instead func(ctx context.Context, token lunasec.Token, why *lunasec.Error) (string, error)
	// ClientsTokenize: clients have an interceptor, too, which tokenizes and detokenizes. What is not tokenized is refused
	// here, and nothing is revealed. For servers.
	ClientsTokenize bool
	// OnError is told of each error that ends a call, for the log: whoever called is not told what went on inside. No token
	// and no value is in it.
	OnError func(ctx context.Context, method string, err error)
	// Files that have the services; those of all generated code that is linked, unless given.
	Files *protoregistry.Files
	// PassOthers lets methods go on that are in none of the files. Those of grpc. always do.
	PassOthers bool
}

// Masked shows a text for what nobody can read.
func Masked(text string) func(context.Context, lunasec.Token, *lunasec.Error) (string, error) {
	return func(context.Context, lunasec.Token, *lunasec.Error) (string, error) { return text, nil }
}

// FromMetadata takes the session from what came with a call; several are none, and the call is refused. It is the caller's
// word: use it where the caller is trusted, or an interceptor before this one checked it.
func FromMetadata(key string) func(context.Context, string) (Who, error) {
	return func(ctx context.Context, _ string) (Who, error) {
		switch values := metadata.ValueFromIncomingContext(ctx, key); len(values) {
		case 0:
			return Who{}, nil
		case 1:
			return Who{Session: values[0]}, nil
		default:
			// Whoever checked it before may have looked at another one.
			return Who{}, lunasec.NewError("unauthenticated", fmt.Sprintf("%q comes %d times with the call: send it once", key, len(values)), false)
		}
	}
}

type interceptor struct {
	options Options
	role    role
	plans   *plans
}

func newInterceptor(options Options, role role) (*interceptor, error) {
	if options.Client == nil {
		return nil, errors.New("lunasecgrpc: Options.Client is missing: make one with lunasec.New")
	}
	if options.Files == nil {
		options.Files = protoregistry.GlobalFiles
	}
	plans, err := plansOf(options.Files, role, options.Session != nil)
	if err != nil {
		return nil, err
	}
	return &interceptor{options, role, plans}, nil
}

// plansFor a method; one that nobody has looked at is refused.
func (i *interceptor) plansFor(method string) (methodPlans, error) {
	plans, ok := i.plans.methods[method]
	if !ok && !i.options.PassOthers && !strings.HasPrefix(method, "/grpc.") {
		return plans, lunasec.NewError("internal", fmt.Sprintf("no .proto file that is linked has %s: link its generated code, give its Files, or say PassOthers", method), false)
	}
	return plans, nil
}

func (i *interceptor) work(ctx context.Context, method string) *work {
	work := &work{interceptor: i, method: method, over: ctx}
	if i.options.Session != nil {
		work.ask = func() (Who, error) {
			if ctx.Value(askingKey{i}) != nil {
				return Who{}, errAsking
			}
			return i.options.Session(context.WithValue(ctx, askingKey{i}, true), method)
		}
	}
	return work
}

// failed tells the log, and gives what the call ends with.
func (i *interceptor) failed(ctx context.Context, method string, err error, ours bool) error {
	if i.options.OnError != nil {
		i.options.OnError(ctx, method, err)
	}
	return statusOf(err, ours, i.role == atClient)
}

// protoOf what grpc-go hands on.
func protoOf(of any) (proto.Message, error) {
	message, ok := of.(proto.Message)
	if !ok {
		return nil, lunasec.NewError("internal", fmt.Sprintf("a message is a %T, and no proto.Message: rules cannot be carried out in it", of), false)
	}
	return message, nil
}

// traced is the context of the calls of the sidecar that are made for one.
func traced(ctx context.Context) context.Context {
	if parents := metadata.ValueFromIncomingContext(ctx, "traceparent"); len(parents) > 0 {
		return lunasec.WithTraceparent(ctx, parents[0])
	}
	return ctx
}
