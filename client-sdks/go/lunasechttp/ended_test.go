package lunasechttp_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/internal/sidecar"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/lunasechttp"
)

func TestARequestWhoseContextEndsIsNotAnsweredAsIfItHadWorked(t *testing.T) {
	app := newApp(t, sidecar.Start(t))
	app.expects(201, "alice", "POST", "/customers", `{"name":"v","card":"4111"}`)
	card := app.rows[0].Card
	app.handle("GET /revealed", app.list, lunasechttp.Reveal(lunasechttp.Fields{"[].name"}))
	app.handle("GET /granted", app.list, lunasechttp.Grant(lunasechttp.Fields{"[].name"}))
	goOn := app.sidecar.Pause()
	defer goOn()
	for _, row := range [][3]string{
		{"POST", "/customers", `{"name":"v"}`}, {"PUT", "/customers", `{"name":"v","card":"` + card + `"}`},
		{"POST", "/pay", `{"card":"` + card + `"}`}, {"GET", "/cards/" + card, ""},
		{"GET", "/revealed", ""}, {"GET", "/granted", ""}, {"GET", "/page", ""}, {"POST", "/log-out", ""},
	} {
		app.errors = nil
		// As of a server that is shut down, whose callers wait.
		ctx, cancel := context.WithCancel(context.Background())
		server := httptest.NewUnstartedServer(lunasechttp.Bind(app.client, func(r *http.Request) (lunasechttp.Who, error) {
			time.AfterFunc(50*time.Millisecond, cancel)
			return lunasechttp.Who{Session: "alice"}, nil
		}, lunasechttp.OnError(app.told))(app.mux))
		server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
		server.Start()
		request, err := http.NewRequest(row[0], server.URL+row[1], strings.NewReader(row[2]))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		server.Close()
		cancel()
		if response.StatusCode != 503 || response.Header.Get("Retry-After") != "1" || problem(t, string(text)).Code != "deadline_exceeded" {
			t.Errorf("%v: %d %s", row[:2], response.StatusCode, text)
		}
		if len(app.errors) != 1 || !errors.Is(app.errors[0], context.Canceled) {
			t.Errorf("%v: OnError was told %v", row[:2], app.errors)
		}
	}
	if len(app.rows) != 1 {
		t.Errorf("a handler ran: %+v", app.rows)
	}
}

func TestARequestThatWaitsForASessionUntilItsTimeIsOverSaysSo(t *testing.T) {
	app := newApp(t, sidecar.Prepare(t))
	begun, goOn, first := make(chan struct{}), make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	answer := app.answered(func(*http.Request) (lunasechttp.Who, error) {
		close(begun)
		<-goOn
		return lunasechttp.Who{}, nil
	}, lunasechttp.Handler(func(_ http.ResponseWriter, r *http.Request) error {
		here := lunasechttp.From(r.Context())
		go func() {
			defer close(first)
			_, _ = here.Session()
		}()
		<-begun
		_, err := here.Session()
		return err
	}), httptest.NewRequest("POST", "/", nil).WithContext(ctx))
	close(goOn)
	<-first
	if answer.Code != 503 {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}
