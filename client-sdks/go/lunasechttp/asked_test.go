package lunasechttp_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/internal/sidecar"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/lunasechttp"
)

// answered by a handler behind Bind, or not within seconds.
func (a *app) answered(session func(*http.Request) (lunasechttp.Who, error), handler http.Handler, request *http.Request) *httptest.ResponseRecorder {
	a.t.Helper()
	recorder, over := httptest.NewRecorder(), make(chan struct{})
	bind := lunasechttp.Bind(a.client, session, lunasechttp.OnError(a.told))
	go func() {
		defer close(over)
		defer func() { _ = recover() }()
		bind(handler).ServeHTTP(recorder, request)
	}()
	select {
	case <-over:
	case <-time.After(10 * time.Second):
		a.t.Fatal("the request hangs")
	}
	return recorder
}

func needsSession(_ http.ResponseWriter, r *http.Request) error {
	_, err := lunasechttp.From(r.Context()).Session()
	return err
}

func TestASessionFunctionThatAsksForTheSessionFailsInsteadOfHanging(t *testing.T) {
	app := newApp(t, sidecar.Prepare(t))
	for name, ask := range map[string]func(*lunasechttp.Here) error{
		"Session": func(here *lunasechttp.Here) error { _, err := here.Session(); return err },
		"Caller":  func(here *lunasechttp.Here) error { _, err := here.Caller(); return err },
	} {
		app.errors = nil
		answer := app.answered(func(r *http.Request) (lunasechttp.Who, error) {
			here := lunasechttp.From(r.Context())
			_ = here.Noted()
			here.Rebind()
			return lunasechttp.Who{Session: "s"}, ask(here)
		}, lunasechttp.Handler(needsSession), httptest.NewRequest("POST", "/", nil))
		if answer.Code != 500 || len(app.errors) != 1 || !strings.Contains(app.errors[0].Error(), "the session that it is to give") {
			t.Errorf("%s: %d %v", name, answer.Code, app.errors)
		}
	}
}

func TestWhoeverAsksMeanwhileGetsTheSameSessionAndLeavesWithTheRequest(t *testing.T) {
	app := newApp(t, sidecar.Prepare(t))
	asked, goOn := 0, make(chan struct{})
	slow := func(*http.Request) (lunasechttp.Who, error) {
		asked++
		<-goOn
		return lunasechttp.Who{Session: "s"}, nil
	}
	answer := app.answered(slow, lunasechttp.Handler(func(_ http.ResponseWriter, r *http.Request) error {
		here := lunasechttp.From(r.Context())
		var wait sync.WaitGroup
		for range 8 {
			wait.Add(1)
			go func() {
				defer wait.Done()
				if session, err := here.Session(); err != nil || session == nil {
					t.Errorf("%v", err)
				}
			}()
		}
		close(goOn)
		wait.Wait()
		return nil
	}), httptest.NewRequest("POST", "/", nil))
	if answer.Code != 200 || asked != 1 {
		t.Errorf("%d, asked %d times", answer.Code, asked)
	}
	goOn = make(chan struct{})
	begun, first := make(chan struct{}), make(chan struct{})
	ctx, leave := context.WithCancel(context.Background())
	app.answered(func(*http.Request) (lunasechttp.Who, error) {
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
		leave()
		if _, err := here.Session(); !errors.Is(err, context.Canceled) {
			t.Errorf("it waits for what nobody waits for: %v", err)
		}
		return nil
	}), httptest.NewRequest("POST", "/", nil).WithContext(ctx))
	close(goOn)
	<-first
}

func TestASessionFunctionThatFailsOrPanicsIsAskedAgain(t *testing.T) {
	app := newApp(t, sidecar.Prepare(t))
	asked := 0
	answer := app.answered(func(*http.Request) (lunasechttp.Who, error) {
		asked++
		if asked == 1 {
			panic("the session store")
		}
		if asked == 2 {
			return lunasechttp.Who{}, errors.New("the session store is away")
		}
		return lunasechttp.Who{Session: "s"}, nil
	}, lunasechttp.Handler(func(w http.ResponseWriter, r *http.Request) error {
		func() {
			defer func() { _ = recover() }()
			_ = needsSession(w, r)
		}()
		if err := needsSession(w, r); err == nil {
			t.Error("an error is lost")
		}
		return needsSession(w, r)
	}), httptest.NewRequest("POST", "/", nil))
	if answer.Code != 200 || asked != 3 {
		t.Errorf("%d, asked %d times", answer.Code, asked)
	}
}

func TestASessionFunctionSeesTheRoutesPathAndLeavesTheFormToTheHandler(t *testing.T) {
	app := newApp(t, sidecar.Prepare(t))
	mux := http.NewServeMux()
	mux.Handle("POST /of/{tenant}", lunasechttp.Handler(func(w http.ResponseWriter, r *http.Request) error {
		if err := needsSession(w, r); err != nil {
			return err
		}
		if r.FormValue("item") != "a lamp" {
			t.Errorf("the handler reads %q", r.FormValue("item"))
		}
		return nil
	}))
	request := httptest.NewRequest("POST", "/of/one", strings.NewReader("session=s&item=a+lamp"))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer := app.answered(func(r *http.Request) (lunasechttp.Who, error) {
		return lunasechttp.Who{Session: r.PathValue("tenant") + r.FormValue("session")}, nil
	}, mux, request)
	if answer.Code != 200 {
		t.Errorf("%d %v", answer.Code, app.errors)
	}
}
