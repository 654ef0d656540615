package grpctest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
	lunasecgrpc "github.com/lunasec-io/lunasec-sidecar/client-sdks/go/grpc"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/grpc/internal/grpctest/shoppb"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/internal/sidecar"
)

type sessionKey struct{}

// edge is a server whose clients tokenize, and one of those.
func edge(t *testing.T) *scene {
	t.Helper()
	sidecar := sidecar.Start(t)
	client, err := lunasec.New(lunasec.Socket(sidecar.Socket), lunasec.RestartGrace(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	protect, err := lunasecgrpc.NewClient(lunasecgrpc.Options{
		Client: client,
		Session: func(ctx context.Context, _ string) (lunasecgrpc.Who, error) {
			session, _ := ctx.Value(sessionKey{}).(string)
			return lunasecgrpc.Who{Session: session}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return started(t, sidecar, func(options *lunasecgrpc.Options) { options.ClientsTokenize = true },
		grpc.WithUnaryInterceptor(protect.Unary), grpc.WithStreamInterceptor(protect.Stream))
}

func here(session string) context.Context {
	return context.WithValue(as(session), sessionKey{}, session)
}

func TestValuesThatNeverCrossTheNetwork(t *testing.T) {
	scene := edge(t)
	asked := &shoppb.PlaceRequest{Card: "4111", Note: "ring"}
	order, err := scene.orders.Place(here("alice"), asked)
	if err != nil {
		t.Fatal(err)
	}
	placed := scene.shop.placed[0]
	if !isToken(placed.Card) || !isToken(placed.Note) || order.Card != "4111" || order.CardToken != placed.Card {
		t.Errorf("%v, %v", placed, order)
	}
	if asked.Card != "4111" {
		t.Error("what the application made was changed")
	}
	talk, err := scene.orders.Talk(here("alice"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		value := fmt.Sprint("card ", n)
		if err := talk.Send(&shoppb.PlaceRequest{Card: value}); err != nil {
			t.Fatal(err)
		}
		if order, err := talk.Recv(); err != nil || order.Card != value {
			t.Fatalf("%v, %v", order, err)
		}
	}
	if err := talk.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := talk.Recv(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	many, err := scene.orders.PlaceMany(here("alice"))
	if err != nil {
		t.Fatal(err)
	}
	if err := many.Send(&shoppb.PlaceRequest{Note: "v"}); err != nil {
		t.Fatal(err)
	}
	if summary, err := many.CloseAndRecv(); err != nil || summary.Count != 1 {
		t.Errorf("%v, %v", summary, err)
	}
}

func TestAServerWhoseClientsTokenizeRefusesWhatIsNot(t *testing.T) {
	scene := started(t, sidecar.Start(t), func(options *lunasecgrpc.Options) { options.ClientsTokenize = true })
	_, err := scene.orders.Place(as("alice"), &shoppb.PlaceRequest{Note: "4111"})
	expect(t, err, codes.InvalidArgument, "invalid_request")
	if strings.Contains(err.Error(), "4111") || len(scene.shop.placed) != 0 {
		t.Errorf("%v", err)
	}
	token := scene.token("4111")
	order, err := scene.orders.Read(as("alice"), &shoppb.ReadRequest{Card: token})
	if err != nil || order.Card != token {
		t.Errorf("it reveals: %v, %v", order, err)
	}
}

func TestAClientIsToldAllOfWhatFailedHereAndItsCallIsOver(t *testing.T) {
	scene := edge(t)
	_, err := scene.orders.Place(here("alice"), &shoppb.PlaceRequest{Note: scene.token("mine")})
	expect(t, err, codes.InvalidArgument, "invalid_request")
	scene.sidecar.Kill()
	_, err = scene.orders.Place(here("alice"), &shoppb.PlaceRequest{Note: "4111"})
	expect(t, err, codes.Unavailable, "sidecar_unreachable")
	if !strings.Contains(err.Error(), scene.sidecar.Socket) {
		t.Errorf("the application that calls is not told: %v", err)
	}
	talk, err := scene.orders.Talk(here("alice"))
	if err != nil {
		t.Fatal(err)
	}
	err = talk.Send(&shoppb.PlaceRequest{Note: "4111"})
	expect(t, err, codes.Unavailable, "sidecar_unreachable")
	_, err = talk.Recv()
	expect(t, err, codes.Unavailable, "sidecar_unreachable")
	<-talk.Context().Done()
}

func TestACallThatIsGivenUpGivesUpWhatItAsked(t *testing.T) {
	scene := started(t, sidecar.Start(t), nil)
	goOn := scene.sidecar.Pause()
	ctx, cancel := context.WithCancel(as("alice"))
	given := make(chan error)
	go func() {
		_, err := scene.orders.Place(ctx, &shoppb.PlaceRequest{Note: "v"})
		given <- err
	}()
	cancel()
	if err := <-given; status.Code(err) != codes.Canceled {
		t.Error(err)
	}
	goOn()
	if _, err := scene.orders.Place(as("alice"), &shoppb.PlaceRequest{Note: "v"}); err != nil {
		t.Error(err)
	}
}

func TestTheSessionsOwnErrorsEndACall(t *testing.T) {
	asked := 0
	scene := started(t, sidecar.Start(t), func(options *lunasecgrpc.Options) {
		options.Session = func(context.Context, string) (lunasecgrpc.Who, error) {
			asked++
			if asked == 1 {
				return lunasecgrpc.Who{}, status.Error(codes.Unauthenticated, "the token is over")
			}
			return lunasecgrpc.Who{}, errors.New("secret: the store is away")
		}
	})
	_, err := scene.orders.Place(context.Background(), &shoppb.PlaceRequest{Note: "v"})
	if status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "the token is over") {
		t.Error(err)
	}
	_, err = scene.orders.Place(context.Background(), &shoppb.PlaceRequest{Note: "v"})
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
	if len(scene.errors) != 2 {
		t.Errorf("%v", scene.errors)
	}
}
