package grpctest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
	lunasecgrpc "github.com/lunasec-io/lunasec-sidecar/client-sdks/go/grpc"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/grpc/internal/grpctest/shoppb"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/internal/sidecar"
)

func TestMain(m *testing.M) { sidecar.Main(m) }

// shop keeps what its handlers got.
type shop struct {
	shoppb.UnimplementedOrdersServer
	mutex  sync.Mutex
	placed []*shoppb.PlaceRequest
	echoed []*shoppb.Everything
	// kept is an order that the application keeps after it was sent.
	kept []*shoppb.Order
	// fails is what handlers return instead, if it is set.
	fails error
}

func (s *shop) take(asked *shoppb.PlaceRequest) *shoppb.Order {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.placed = append(s.placed, proto.Clone(asked).(*shoppb.PlaceRequest))
	order := &shoppb.Order{Id: fmt.Sprint(len(s.placed)), Card: asked.Card, CardToken: asked.Card}
	s.kept = append(s.kept, order)
	return order
}

func (s *shop) Place(_ context.Context, asked *shoppb.PlaceRequest) (*shoppb.Order, error) {
	if s.fails != nil {
		return nil, s.fails
	}
	return s.take(asked), nil
}

func (s *shop) Echo(_ context.Context, asked *shoppb.Everything) (*shoppb.Shown, error) {
	s.mutex.Lock()
	s.echoed = append(s.echoed, proto.Clone(asked).(*shoppb.Everything))
	s.mutex.Unlock()
	return shownOf(asked)
}

// shownOf a request: both messages have the same fields.
func shownOf(asked *shoppb.Everything) (*shoppb.Shown, error) {
	raw, err := proto.Marshal(asked)
	if err != nil {
		return nil, err
	}
	shown := &shoppb.Shown{}
	return shown, proto.Unmarshal(raw, shown)
}

func (s *shop) Show(asked *shoppb.ShowRequest, stream grpc.ServerStreamingServer[shoppb.Order]) error {
	if s.fails != nil {
		return s.fails
	}
	for i, card := range asked.Cards {
		if err := stream.Send(&shoppb.Order{Id: fmt.Sprint(i), Card: card}); err != nil {
			return err
		}
	}
	return nil
}

func (s *shop) PlaceMany(stream grpc.ClientStreamingServer[shoppb.PlaceRequest, shoppb.Summary]) error {
	count := int32(0)
	for {
		asked, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&shoppb.Summary{Count: count})
		}
		if err != nil {
			// A handler that hides errors.
			return stream.SendAndClose(&shoppb.Summary{Count: -1})
		}
		s.take(asked)
		count++
	}
}

func (s *shop) Talk(stream grpc.BidiStreamingServer[shoppb.PlaceRequest, shoppb.Order]) error {
	for {
		asked, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(s.take(asked)); err != nil {
			return err
		}
	}
}

func (s *shop) Plain(_ context.Context, asked *shoppb.Summary) (*shoppb.Summary, error) {
	if s.fails != nil {
		return nil, s.fails
	}
	return asked, nil
}

func (s *shop) Read(_ context.Context, asked *shoppb.ReadRequest) (*shoppb.ReadAnswer, error) {
	return &shoppb.ReadAnswer{Card: asked.Card}, nil
}

// scene is a server and a client of it, with a sidecar beside the server.
type scene struct {
	t       *testing.T
	sidecar *sidecar.Sidecar
	lunasec *lunasec.Client
	shop    *shop
	orders  shoppb.OrdersClient
	socket  string

	mutex  sync.Mutex
	errors []error
}

func (s *scene) told(_ context.Context, _ string, err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.errors = append(s.errors, err)
}

func started(t *testing.T, sidecar *sidecar.Sidecar, change func(*lunasecgrpc.Options), dial ...grpc.DialOption) *scene {
	t.Helper()
	client, err := lunasec.New(lunasec.Socket(sidecar.Socket), lunasec.RestartGrace(0))
	if err != nil {
		t.Fatal(err)
	}
	scene := &scene{t: t, sidecar: sidecar, lunasec: client, shop: &shop{}}
	options := lunasecgrpc.Options{Client: client, Session: lunasecgrpc.FromMetadata("session"), OnError: scene.told}
	if change != nil {
		change(&options)
	}
	protect, err := lunasecgrpc.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(protect.Unary), grpc.ChainStreamInterceptor(protect.Stream))
	shoppb.RegisterOrdersServer(server, scene.shop)
	scene.socket = filepath.Join(filepath.Dir(sidecar.Socket), "g")
	listener, err := net.Listen("unix", scene.socket)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan error, 1)
	go func() { over <- server.Serve(listener) }()
	conn, err := grpc.NewClient("unix:"+scene.socket, append(dial, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	scene.orders = shoppb.NewOrdersClient(conn)
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		if err := <-over; err != nil {
			t.Error(err)
		}
		_ = client.Close()
	})
	return scene
}

// as a session.
func as(session string) context.Context {
	return metadata.AppendToOutgoingContext(context.Background(), "session", session)
}

func (s *scene) token(value string) string {
	s.t.Helper()
	tokenized, err := s.lunasec.Tokenize(context.Background(), lunasec.Text(value))
	if err != nil {
		s.t.Fatal(err)
	}
	return tokenized.Token.Expose()
}

func isToken(text string) bool {
	_, err := lunasec.ParseToken(text)
	return err == nil
}
