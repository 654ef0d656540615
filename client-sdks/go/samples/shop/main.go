// A shop whose database holds only tokens.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "where to listen")
	database := flag.String("database", "shop.db", "the file of the database")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *database); err != nil {
		slog.Error("the shop stops", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen, database string) error {
	// One for the process. It connects with the first call, and waits for the sidecar to start.
	client, err := lunasec.New(lunasec.Purpose("shop"))
	if err != nil {
		return err
	}
	defer client.Close()
	store, err := openStore(ctx, database)
	if err != nil {
		return err
	}
	defer store.close()
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", listener.Addr())
	server := &http.Server{Handler: newShop(client, store, os.Getenv("SHOP_DESK_PASSWORD")).handler(), ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(patience); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
