package grpctest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// application is what the README's snippets take for granted.
const application = `package main

import (
	"context"
	"fmt"
	"log"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
	lunasecgrpc "github.com/lunasec-io/lunasec-sidecar/client-sdks/go/grpc"
	_ "github.com/lunasec-io/lunasec-sidecar/client-sdks/go/grpc/internal/grpctest/shoppb"
)

func sessionOf(context.Context, string) (lunasecgrpc.Who, error) { return lunasecgrpc.Who{Session: "s"}, nil }

func main() {
	client, err := lunasec.New()
	if err != nil {
		log.Fatal(err)
	}
	if err := run(client); err != nil {
		log.Fatal(err)
	}
}

func run(client *lunasec.Client) error {
`

func TestTheReadmesSnippetsRun(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	source := application
	found := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(found) != 2 {
		t.Fatalf("%d snippets: the number here says that none is lost", len(found))
	}
	for _, snippet := range found {
		source += snippet[1]
	}
	source += "server.Stop()\nfmt.Print(conn.Target(), err)\nreturn conn.Close()\n}\n"
	// Below this module, so that it has what this one has.
	directory, err := os.MkdirTemp(".", "readme-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	if err := os.WriteFile(filepath.Join(directory, "main.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "run", "./"+directory).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "unix:orders.sock<nil>" {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestTheReadmesProtoIsOneThatTheInterceptorTakes(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```proto\n(.*?)```").FindStringSubmatch(string(text))
	if found == nil {
		t.Fatal("the .proto is not where it was")
	}
	protected(t, compiled(t, found[1], true))
}
