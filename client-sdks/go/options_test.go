package lunasec

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestOptionsAreCheckedWhereTheyAreSaid(t *testing.T) {
	for name, option := range map[string]Option{
		"a namespace with a line break": Namespace("a\r\nb"),
		"an empty purpose":              Purpose(""),
		"a JWT with a space":            JWT(" a"),
		"a deadline before now":         Deadline(-1),
		"a deadline that is too long":   Deadline(math.MaxInt64),
		"no socket":                     Socket(""),
		"a path that is too long":       Socket(strings.Repeat("s", 200)),
		"no connections":                Connections(0),
		"no calls":                      PendingCalls(0),
		"no items":                      BatchItems(0),
		"attempts before the first":     Retries(Retry{Attempts: -1}),
		"a pause before now":            Retries(Retry{Pause: -1}),
		"a start before now":            StartDeadline(-1),
		"a grace before now":            RestartGrace(-1),
		"half of a letter":              Namespace("\xff"),
	} {
		if _, err := New(option); !errors.Is(err, ErrInvalidRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	client, _ := scene(t, newClock())
	if _, err := client.With(Namespace("a\n")); !errors.Is(err, ErrInvalidRequest) {
		t.Error(err)
	}
	for _, session := range []string{"", " a", "a\x00", strings.Repeat("s", 15_000)} {
		if _, err := client.ForSession(session); !errors.Is(err, ErrInvalidRequest) {
			t.Errorf("%.10q: %v", session, err)
		}
	}
	if _, err := client.Detokenize(context.Background(), tokenN(1), Purpose("a\r\nb: c")); !errors.Is(err, ErrInvalidRequest) {
		t.Error(err)
	}
}

func TestWhatIsNoValueIsNotTokenized(t *testing.T) {
	client, _ := scene(t, newClock())
	for name, value := range map[string]Plaintext{
		"the mask":               Text(" " + Mask + "\n"),
		"the mask as bytes":      Bytes([]byte(Mask)),
		"a token's print":        Text("card " + tokenPrint),
		"a plaintext's print":    Text(plaintextPrint),
		"a print of another SDK": Text("[lunasec token: .expose() gives its text]"),
		"text that is not UTF-8": Text("\xff"),
	} {
		if _, err := client.Tokenize(context.Background(), value); !errors.Is(err, ErrInvalidRequest) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := client.TokenizeBatch(context.Background(), []TokenizeItem{{Value: value}}); !errors.Is(err, ErrInvalidRequest) {
			t.Errorf("%s in a batch: %v", name, err)
		}
	}
	for name, metadata := range map[string]any{
		"a print":   map[string]any{"token": TokenOf(secretToken)},
		"no JSON":   map[string]any{"x": make(chan int)},
		"not UTF-8": rawJSON("{\"x\":\"\xff\"}"),
	} {
		_, err := client.Tokenize(context.Background(), Text("v"), Metadata(metadata))
		if !errors.Is(err, ErrInvalidRequest) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := client.SetMetadata(context.Background(), tokenN(1), metadata); !errors.Is(err, ErrInvalidRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := client.Detokenize(context.Background(), TokenOf(tokenPrint)); !errors.Is(err, ErrInvalidToken) {
		t.Error(err)
	}
	if _, err := client.Delete(context.Background(), nil); !errors.Is(err, ErrInvalidRequest) {
		t.Error(err)
	}
}

func TestTimesAreSaidInTheContractsWords(t *testing.T) {
	for after, words_ := range map[time.Duration]string{
		720 * time.Hour: "720h", 90 * time.Minute: "90m", 15 * time.Minute: "15m", 61 * time.Second: "61s",
		1500 * time.Millisecond: "1500ms", 0: "0ms",
	} {
		if words(after) != words_ {
			t.Errorf("%v is %s", after, words(after))
		}
	}
}

func TestATraceGoesAlongAndNothingElseOfIt(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	client, sidecar := scene(t, newClock(), Trace(func(_ context.Context, header http.Header) {
		header.Set("traceparent", parent)
		header.Set("tracestate", "a=b")
		header.Set("baggage", "user=secret")
	}))
	var lines string
	sidecar.answers(t, func(_ int, came *came) { lines = came.wanted.lines; came.reveal(t) })
	if _, err := client.Detokenize(context.Background(), tokenN(1)); err != nil {
		t.Fatal(err)
	}
	if lines != "traceparent: "+parent+"\r\ntracestate: a=b\r\n" {
		t.Errorf("%q", lines)
	}
	plain, other := scene(t, newClock())
	other.answers(t, func(_ int, came *came) { lines = came.wanted.lines; came.reveal(t) })
	if _, err := plain.Detokenize(WithTraceparent(context.Background(), parent), tokenN(1)); err != nil {
		t.Fatal(err)
	}
	if lines != "traceparent: "+parent+"\r\n" {
		t.Errorf("%q", lines)
	}
	if _, err := plain.Detokenize(WithTraceparent(context.Background(), "a\r\nb: c"), tokenN(1)); err != nil || lines != "" {
		t.Errorf("%q, %v", lines, err)
	}
}
