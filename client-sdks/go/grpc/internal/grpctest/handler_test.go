package grpctest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
	lunasecgrpc "github.com/lunasec-io/lunasec-sidecar/client-sdks/go/grpc"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/grpc/internal/grpctest/shoppb"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/internal/sidecar"
)

// kinds of calls, each of which ends with what its handler returns.
func kinds(scene *scene) map[string]func() error {
	return map[string]func() error{
		"unary": func() error {
			_, err := scene.orders.Place(as("alice"), &shoppb.PlaceRequest{})
			return err
		},
		"unary without rules": func() error {
			_, err := scene.orders.Plain(as("alice"), &shoppb.Summary{})
			return err
		},
		"stream": func() error {
			show, err := scene.orders.Show(as("alice"), &shoppb.ShowRequest{})
			if err == nil {
				_, err = show.Recv()
			}
			return err
		},
	}
}

func TestAnErrorOfAHandlersOwnCallSaysWhatTheTableSaysAndNothingOfTheInside(t *testing.T) {
	scene := started(t, sidecar.Prepare(t), nil)
	for name, call := range kinds(scene) {
		for code, expected := range map[string]codes.Code{
			"invalid_token": codes.InvalidArgument, "unauthenticated": codes.Unauthenticated, "grant_denied": codes.PermissionDenied,
			"not_found": codes.NotFound, "payload_too_large": codes.ResourceExhausted, "conflict": codes.Aborted,
			"deadline_exceeded": codes.DeadlineExceeded, "storage_unavailable": codes.Unavailable, "corrupted": codes.DataLoss,
			"internal": codes.Internal,
			// Also where it says that it is no use to try again at once.
			"overloaded": codes.Unavailable, "keys_unavailable": codes.Unavailable, "journal_full": codes.Unavailable,
		} {
			scene.errors = nil
			scene.shop.fails = fmt.Errorf("outer words: %w", lunasec.NewError(code, "inner words", code == "storage_unavailable"))
			err := call()
			expect(t, err, expected, code)
			if strings.Contains(err.Error(), "words:") || strings.Contains(err.Error(), "inner") {
				t.Errorf("%s, %s: %v", name, code, err)
			}
			if len(scene.errors) != 1 || !strings.Contains(scene.errors[0].Error(), "inner words") {
				t.Errorf("%s, %s: OnError was told %v", name, code, scene.errors)
			}
		}
		scene.errors = nil
		given := status.Error(codes.FailedPrecondition, "its own")
		for _, own := range []error{given, fmt.Errorf("%w: %w", given, lunasec.NewError("not_found", "inner words", false))} {
			scene.shop.fails = own
			if err := call(); status.Code(err) != codes.FailedPrecondition {
				t.Errorf("%s: %v", name, err)
			}
		}
		scene.shop.fails = errors.New("its own")
		if err := call(); status.Code(err) != codes.Unknown || len(scene.errors) != 0 {
			t.Errorf("%s: %v, OnError was told %v", name, err, scene.errors)
		}
	}
}

func TestASessionFunctionThatCallsThroughItsOwnInterceptorFails(t *testing.T) {
	sidecar := sidecar.Start(t)
	client, err := lunasec.New(lunasec.Socket(sidecar.Socket), lunasec.RestartGrace(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	var orders shoppb.OrdersClient
	var told []error
	asked := 0
	protect, err := lunasecgrpc.NewClient(lunasecgrpc.Options{
		Client: client,
		Session: func(ctx context.Context, _ string) (lunasecgrpc.Who, error) {
			if asked++; asked > 3 {
				return lunasecgrpc.Who{}, errors.New("it never ends")
			}
			_, err := orders.Place(ctx, &shoppb.PlaceRequest{Card: "4111"})
			return lunasecgrpc.Who{Session: "s"}, err
		},
		OnError: func(_ context.Context, _ string, err error) { told = append(told, err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	orders = started(t, sidecar, nil, grpc.WithUnaryInterceptor(protect.Unary)).orders
	if _, err = orders.Place(as("s"), &shoppb.PlaceRequest{Card: "4111"}); status.Code(err) != codes.Internal || asked != 1 {
		t.Errorf("asked %d times: %v", asked, err)
	}
	if len(told) != 2 || !strings.Contains(told[0].Error(), "the session that it is to give") {
		t.Errorf("%v", told)
	}
}

func TestSeveralSessionsInTheMetadataAreNone(t *testing.T) {
	scene := started(t, sidecar.Strict(t), nil)
	for _, sessions := range [][]string{{"alice", "mallory"}, {"", "alice"}, {"alice", "alice"}} {
		scene.errors = nil
		ctx := context.Background()
		for _, session := range sessions {
			ctx = metadata.AppendToOutgoingContext(ctx, "session", session)
		}
		_, err := scene.orders.Place(ctx, &shoppb.PlaceRequest{Card: "4111"})
		expect(t, err, codes.Unauthenticated, "unauthenticated")
		if len(scene.errors) != 1 || !strings.Contains(scene.errors[0].Error(), "comes 2 times") || strings.Contains(scene.errors[0].Error(), "alice") {
			t.Errorf("OnError was told %v", scene.errors)
		}
	}
	if len(scene.shop.placed) != 0 {
		t.Error("a handler ran")
	}
}

func TestAMessageThatWaitsForASessionLeavesWithItsCall(t *testing.T) {
	for expected, limited := range map[codes.Code]func() (context.Context, func()){
		codes.Canceled: func() (context.Context, func()) {
			ctx, leave := context.WithCancel(context.Background())
			return ctx, leave
		},
		codes.DeadlineExceeded: func() (context.Context, func()) {
			ctx, leave := context.WithTimeout(context.Background(), 50*time.Millisecond)
			t.Cleanup(leave)
			return ctx, func() {}
		},
	} {
		t.Run(expected.String(), func(t *testing.T) { leavesWith(t, expected, limited) })
	}
}

func leavesWith(t *testing.T, expected codes.Code, limited func() (context.Context, func())) {
	t.Helper()
	begun, goOn := make(chan struct{}), make(chan struct{})
	scene := started(t, sidecar.Prepare(t), nil)
	protect, err := lunasecgrpc.NewClient(lunasecgrpc.Options{
		Client: scene.lunasec,
		Session: func(context.Context, string) (lunasecgrpc.Who, error) {
			close(begun)
			<-goOn
			return lunasecgrpc.Who{}, errors.New("too late")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := limited()
	answers := make(chan *shoppb.Order, 1)
	stream, err := protect.Stream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, nil, shoppb.Orders_Talk_FullMethodName,
		func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
			return &fakeStream{ctx: ctx, answers: answers}, nil
		})
	if err != nil {
		t.Fatal(err)
	}
	sent, over := make(chan error, 1), make(chan error, 1)
	go func() { sent <- stream.SendMsg(&shoppb.PlaceRequest{Card: "4111"}) }()
	<-begun
	answers <- &shoppb.Order{Card: "lunasec-00000000-0000-4000-8000-000000000000"}
	go func() { over <- stream.RecvMsg(&shoppb.Order{}) }()
	leave()
	select {
	case err := <-over:
		if status.Code(err) != expected {
			t.Errorf("%v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it hangs")
	}
	close(goOn)
	if err := <-sent; err == nil {
		t.Error("it was sent without a session")
	}
}

// fakeStream has answers, and nobody on the other side.
type fakeStream struct {
	grpc.ClientStream
	ctx     context.Context
	answers chan *shoppb.Order
}

func (f *fakeStream) Context() context.Context { return f.ctx }
func (f *fakeStream) SendMsg(any) error        { return nil }

func (f *fakeStream) RecvMsg(into any) error {
	into.(*shoppb.Order).Card = (<-f.answers).Card
	return nil
}
