package lunasec_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
)

// Tokens and values print redacted, whoever prints them.
func ExampleToken() {
	token := lunasec.TokenOf("lunasec-0b8f8a52-9d0c-4a57-8d0e-5d9f0c1b2a3e")
	fmt.Println(token)
	fmt.Printf("%+v\n", struct{ Card lunasec.Token }{token})
	slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, attr slog.Attr) slog.Attr {
		if attr.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return attr
	}})).Info("paid", "card", token)
	fmt.Println(token.Expose())
	// Output:
	// [lunasec token: Expose() gives its text]
	// {Card:[lunasec token: Expose() gives its text]}
	// level=INFO msg=paid card="[lunasec token: Expose() gives its text]"
	// lunasec-0b8f8a52-9d0c-4a57-8d0e-5d9f0c1b2a3e
}

// What is no token is refused before it is stored or sent.
func ExampleParseToken() {
	_, err := lunasec.ParseToken("4111 1111 1111 1111")
	fmt.Println(errors.Is(err, lunasec.ErrInvalidToken))
	fmt.Println(err)
	// Output:
	// true
	// lunasec: invalid_token: a token is lunasec- and a UUID in lower case; this is none
}

// While no sidecar answers, a page shows a mask, and says why.
func ExampleClient_Masked() {
	client, err := lunasec.New(lunasec.Socket("/nowhere/lunasec.sock"), lunasec.StartDeadline(0))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	token := lunasec.TokenOf("lunasec-0b8f8a52-9d0c-4a57-8d0e-5d9f0c1b2a3e")
	shown, err := client.Masked().Detokenize(context.Background(), token)
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := lunasec.Show(shown)
	fmt.Println(text, shown.Reason, err)
	// Output: •••• sidecar_unreachable <nil>
}

// Kinds say what to do about an error; the error itself says all that is known.
func ExampleError() {
	err := fmt.Errorf("while charging: %w", lunasec.NewError("storage_unavailable", "storage does not answer", true))
	fmt.Println(errors.Is(err, lunasec.ErrUnavailable), errors.Is(err, lunasec.ErrAccessDenied))
	var known *lunasec.Error
	if errors.As(err, &known) {
		fmt.Println(known.Code, known.Retryable)
	}
	// Output:
	// true false
	// storage_unavailable true
}
