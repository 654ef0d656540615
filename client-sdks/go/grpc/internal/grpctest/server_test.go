package grpctest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
	lunasecgrpc "github.com/lunasec-io/lunasec-sidecar/client-sdks/go/grpc"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/grpc/internal/grpctest/shoppb"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/internal/sidecar"
)

func expect(t *testing.T, err error, code codes.Code, reason string) {
	t.Helper()
	said, _ := status.FromError(err)
	if said.Code() != code {
		t.Fatalf("%v instead of %s", err, code)
	}
	for _, detail := range said.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.Reason == reason && info.Domain == "lunasec" {
			return
		}
	}
	if reason != "" {
		t.Fatalf("%v has no reason %s: %v", err, reason, said.Details())
	}
}

func TestHandlersSeeTokensAndTheirCallersValues(t *testing.T) {
	scene := started(t, sidecar.Strict(t), nil)
	order, err := scene.orders.Place(as("alice"), &shoppb.PlaceRequest{Card: "4111 1111", Note: "ring twice"})
	if err != nil {
		t.Fatal(err)
	}
	placed := scene.shop.placed[0]
	if !isToken(placed.Card) || !isToken(placed.Note) {
		t.Fatalf("the handler got %v", placed)
	}
	if order.Card != "4111 1111" || order.CardToken != placed.Card {
		t.Errorf("%v", order)
	}
	if kept := scene.shop.kept[0]; kept.Card != placed.Card {
		t.Error("what the application keeps was changed")
	}
	// The token was granted to alice, and to nobody else.
	if _, err := scene.orders.Place(as("alice"), &shoppb.PlaceRequest{Card: order.CardToken}); err != nil {
		t.Error(err)
	}
	_, err = scene.orders.Place(as("mallory"), &shoppb.PlaceRequest{Card: order.CardToken})
	expect(t, err, codes.PermissionDenied, "grant_denied")
	_, never := scene.orders.Place(as("mallory"), &shoppb.PlaceRequest{Card: "lunasec-00000000-0000-4000-8000-000000000000"})
	if never.Error() != err.Error() {
		t.Errorf("who tries tokens learns something: %v, %v", err, never)
	}
	_, err = scene.orders.Place(context.Background(), &shoppb.PlaceRequest{Card: order.CardToken})
	expect(t, err, codes.Unauthenticated, "unauthenticated")
	if len(scene.shop.placed) != 2 {
		t.Error("a handler ran for a call that was refused")
	}
}

func everything(n int) *shoppb.Everything {
	return &shoppb.Everything{
		Scan:  []byte{0xff, 0, byte(n)},
		Names: []string{fmt.Sprint("Zoë ", n), "", "same", "same"},
		Cards: map[string]string{"a": fmt.Sprint("4111 ", n), "b": "4222"}, Wrapped: wrapperspb.String("wrapped"),
		Either: &shoppb.Everything_Print{Print: []byte("print")}, Maybe: proto.String(""), Plain: "plain",
	}
}

func TestEveryKindOfFieldAtAnyDepth(t *testing.T) {
	scene := started(t, sidecar.Start(t), nil)
	asked := everything(1)
	asked.Inner = everything(2)
	asked.More = map[int32]*shoppb.Everything{3: everything(3), 4: {Either: &shoppb.Everything_Phone{Phone: "555"}}}
	wanted, err := shownOf(asked)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := scene.orders.Echo(as("alice"), asked)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(shown, wanted) {
		t.Errorf("%v\ninstead of\n%v", shown, wanted)
	}
	got := scene.shop.echoed[0]
	for where, text := range map[string]string{
		"bytes": string(got.Scan), "a list": got.Names[0], "an empty item": got.Names[1], "a map": got.Cards["b"], "a wrapper": got.Wrapped.Value,
		"a oneof": string(got.GetPrint()), "an optional": got.GetMaybe(), "an inner message": string(got.Inner.Scan),
		"a message of a map": got.More[4].GetPhone(),
	} {
		if !isToken(text) {
			t.Errorf("%s came as %q", where, text)
		}
	}
	if got.Plain != "plain" {
		t.Error("a field without a rule was changed")
	}
	// Absent stays absent.
	empty, err := scene.orders.Echo(as("alice"), &shoppb.Everything{})
	if err != nil || !proto.Equal(empty, &shoppb.Shown{}) {
		t.Errorf("%v, %v", empty, err)
	}
}

func TestWhatCannotBeTakenIsSaidWithItsFieldAndWithoutItsValue(t *testing.T) {
	scene := started(t, sidecar.Start(t), nil)
	token := scene.token("mine")
	for name, row := range map[string]struct {
		asked *shoppb.PlaceRequest
		code  codes.Code
		where string
	}{
		"a token where none may be": {&shoppb.PlaceRequest{Note: token}, codes.InvalidArgument, "shop.PlaceRequest.note"},
		"a token that was mangled":  {&shoppb.PlaceRequest{Card: " " + strings.ToUpper(token)}, codes.InvalidArgument, "shop.PlaceRequest.card"},
		"the mask":                  {&shoppb.PlaceRequest{Card: "••••"}, codes.InvalidArgument, "shop.PlaceRequest.card"},
		"a print":                   {&shoppb.PlaceRequest{Note: fmt.Sprint(lunasec.Text("4111"))}, codes.InvalidArgument, "shop.PlaceRequest.note"},
		"a value that is too large": {&shoppb.PlaceRequest{Note: strings.Repeat("4111", 300_000)}, codes.ResourceExhausted, "shop.PlaceRequest.note"},
	} {
		_, err := scene.orders.Place(as("alice"), row.asked)
		if status.Code(err) != row.code || !strings.Contains(err.Error(), row.where+": ") {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(err.Error(), "4111") || strings.Contains(strings.ToLower(err.Error()), token) {
			t.Errorf("%s: %.200v", name, err)
		}
	}
	names := make([]string, 2_001)
	for i := range names {
		names[i] = "v"
	}
	_, err := scene.orders.Echo(as("alice"), &shoppb.Everything{Names: names})
	expect(t, err, codes.ResourceExhausted, "payload_too_large")
	if len(scene.shop.placed)+len(scene.shop.echoed) != 0 {
		t.Error("a handler ran")
	}
}

func TestALargeMessageIsAFewRequests(t *testing.T) {
	scene := started(t, sidecar.Start(t), nil)
	names := make([]string, 2_000)
	for i := range names {
		names[i] = fmt.Sprint("value ", i)
	}
	shown, err := scene.orders.Echo(as("alice"), &shoppb.Everything{Names: names})
	if err != nil {
		t.Fatal(err)
	}
	for i := range names {
		if shown.Names[i] != names[i] {
			t.Fatalf("%d is %q", i, shown.Names[i])
		}
	}
}

func TestStreamsAreWorkedOnMessageByMessage(t *testing.T) {
	scene := started(t, sidecar.Strict(t), nil)
	talk, err := scene.orders.Talk(as("alice"))
	if err != nil {
		t.Fatal(err)
	}
	var cards []string
	for n := range 20 {
		value := fmt.Sprint("card ", n)
		if err := talk.Send(&shoppb.PlaceRequest{Card: value}); err != nil {
			t.Fatal(err)
		}
		order, err := talk.Recv()
		if err != nil || order.Card != value || !isToken(order.CardToken) {
			t.Fatalf("%v, %v", order, err)
		}
		cards = append(cards, order.CardToken)
	}
	if err := talk.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := talk.Recv(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	show, err := scene.orders.Show(as("alice"), &shoppb.ShowRequest{Cards: cards})
	if err != nil {
		t.Fatal(err)
	}
	for n := range cards {
		order, err := show.Recv()
		if err != nil || order.Card != fmt.Sprint("card ", n) {
			t.Fatalf("%v, %v", order, err)
		}
	}
	show, err = scene.orders.Show(as("mallory"), &shoppb.ShowRequest{Cards: cards})
	if err != nil {
		t.Fatal(err)
	}
	_, err = show.Recv()
	expect(t, err, codes.PermissionDenied, "grant_denied")
}

func TestAStreamThatFailsEndsAfterWhatCameBeforeWhateverItsHandlerReturns(t *testing.T) {
	scene := started(t, sidecar.Start(t), nil)
	many, err := scene.orders.PlaceMany(as("alice"))
	if err != nil {
		t.Fatal(err)
	}
	for _, note := range []string{"one", "two", "••••", "three"} {
		if err := many.Send(&shoppb.PlaceRequest{Note: note}); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	_, err = many.CloseAndRecv()
	expect(t, err, codes.InvalidArgument, "invalid_request")
	if len(scene.shop.placed) != 2 {
		t.Errorf("the handler got %d messages", len(scene.shop.placed))
	}
	if len(scene.errors) != 1 || strings.Contains(scene.errors[0].Error(), "one") {
		t.Errorf("%v", scene.errors)
	}
}

func TestWhileTheSidecarIsAway(t *testing.T) {
	for name, row := range map[string]struct {
		instead func(context.Context, lunasec.Token, *lunasec.Error) (string, error)
		shown   string
	}{"it fails": {}, "it is masked": {lunasecgrpc.Masked("n/a"), "n/a"}} {
		t.Run(name, func(t *testing.T) {
			scene := started(t, sidecar.Start(t), func(options *lunasecgrpc.Options) { options.Instead = row.instead })
			token := scene.token("4111")
			scene.sidecar.Kill()
			_, err := scene.orders.Place(as("alice"), &shoppb.PlaceRequest{Note: "4111"})
			expect(t, err, codes.Unavailable, "sidecar_unreachable")
			if strings.Contains(err.Error(), scene.sidecar.Socket) || !strings.Contains(scene.errors[0].Error(), scene.sidecar.Socket) {
				t.Errorf("%v; for the log: %v", err, scene.errors)
			}
			read := func() (string, error) {
				order, err := scene.orders.Read(as("alice"), &shoppb.ReadRequest{Card: token})
				return order.GetCard(), err
			}
			shown, err := read()
			if row.shown == "" {
				expect(t, err, codes.Unavailable, "sidecar_unreachable")
			} else if err != nil || shown != row.shown {
				t.Errorf("%q, %v", shown, err)
			}
			scene.sidecar.Start()
			if shown, err := read(); err != nil || shown != "4111" {
				t.Errorf("it does not recover: %q, %v", shown, err)
			}
		})
	}
}

func TestOfManyCallsAtOnceNobodyGetsWhatIsAnothers(t *testing.T) {
	scene := started(t, sidecar.Strict(t), nil)
	var wait sync.WaitGroup
	for user := range 60 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			session, card := fmt.Sprint("user-", user), fmt.Sprint("card of ", user)
			for range 5 {
				order, err := scene.orders.Place(as(session), &shoppb.PlaceRequest{Card: card})
				if err != nil || order.Card != card {
					t.Errorf("%v, %v", order, err)
				}
			}
		}()
	}
	wait.Wait()
}

func TestMethodsThatNobodyKnowsAreRefusedUnlessTheyMayPass(t *testing.T) {
	scene := started(t, sidecar.Start(t), nil)
	if summary, err := scene.orders.Plain(context.Background(), &shoppb.Summary{Count: 7}); err != nil || summary.Count != 7 {
		t.Errorf("a method without rules: %v, %v", summary, err)
	}
	for _, pass := range []bool{false, true} {
		protect, err := lunasecgrpc.NewServer(lunasecgrpc.Options{
			Client: scene.lunasec, Session: lunasecgrpc.FromMetadata("session"), PassOthers: pass,
		})
		if err != nil {
			t.Fatal(err)
		}
		for method, passes := range map[string]bool{"/other.Service/Do": pass, "/grpc.health.v1.Health/Check": true} {
			info := &grpc.UnaryServerInfo{FullMethod: method}
			_, err := protect.Unary(context.Background(), &shoppb.Summary{}, info, func(context.Context, any) (any, error) { return &shoppb.Summary{}, nil })
			if (err == nil) != passes {
				t.Errorf("%s, PassOthers %t: %v", method, pass, err)
			}
		}
	}
}
