package main

import (
	"context"
	"testing"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/internal/sidecar"
)

// BenchmarkDetokenize says what each call allocates, beside a bare client.
func BenchmarkDetokenize(b *testing.B) {
	sidecar := sidecar.Start(b)
	client, err := lunasec.New(lunasec.Socket(sidecar.Socket))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = client.Close() })
	tokens, err := tokensOf(context.Background(), client)
	if err != nil {
		b.Fatal(err)
	}
	for _, each := range []contender{{name: "bare", call: bare(sidecar.Socket)}, {name: "client", call: detokenizes(client)}} {
		b.Run(each.name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if err := each.call(context.Background(), tokens[0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
