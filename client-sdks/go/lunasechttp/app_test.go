package lunasechttp_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/internal/sidecar"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/lunasechttp"
)

type customer struct {
	Name string `json:"name"`
	Card string `json:"card,omitempty"`
	Note any    `json:"note,omitempty"`
}

// app is a small application, whose rows hold what its handlers got.
type app struct {
	t       *testing.T
	client  *lunasec.Client
	sidecar *sidecar.Sidecar
	mux     *http.ServeMux

	mutex  sync.Mutex
	rows   []customer
	errors []error
}

func (a *app) told(_ *http.Request, err error) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.errors = append(a.errors, err)
}

func newApp(t *testing.T, sidecar *sidecar.Sidecar, options ...lunasec.Option) *app {
	t.Helper()
	client, err := lunasec.New(append([]lunasec.Option{lunasec.Socket(sidecar.Socket), lunasec.RestartGrace(0)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	app := &app{t: t, client: client, sidecar: sidecar, mux: http.NewServeMux()}
	app.handle("POST /customers", app.create, lunasechttp.Tokenize(lunasechttp.Fields{"name", "card?", "note?"}))
	app.handle("PUT /customers", app.create, lunasechttp.Tokenize(lunasechttp.Fields{"name", "card?"}, lunasechttp.KeepGranted()))
	app.handle("GET /customers", app.list,
		lunasechttp.Grant(lunasechttp.Fields{"[].name", "[].card"}), lunasechttp.Reveal(lunasechttp.Fields{"[].name"}))
	app.handle("GET /page", app.list,
		lunasechttp.Reveal(lunasechttp.Fields{"[].name"}, lunasechttp.Masked(), lunasechttp.GoneIsNull()),
		lunasechttp.Grant(lunasechttp.Fields{"[].name", "[].card"}, lunasechttp.SkipGrants()))
	app.handle("POST /pay", app.echo, lunasechttp.Verify(lunasechttp.In{Body: lunasechttp.Fields{"card", "others[]?"}}))
	app.handle("GET /cards/{card}", app.echo, lunasechttp.Verify(lunasechttp.In{Path: []string{"card"}, Query: []string{"also?"}}))
	app.mux.Handle("POST /log-out", lunasechttp.Handler(app.logOut))
	return app
}

func (a *app) handle(pattern string, handler http.HandlerFunc, routes ...func(http.Handler) http.Handler) {
	var next http.Handler = handler
	for i := len(routes) - 1; i >= 0; i-- {
		next = routes[i](next)
	}
	a.mux.Handle(pattern, next)
}

func (a *app) create(w http.ResponseWriter, r *http.Request) {
	var row customer
	if err := json.NewDecoder(r.Body).Decode(&row); err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	a.mutex.Lock()
	a.rows = append(a.rows, row)
	a.mutex.Unlock()
	w.WriteHeader(http.StatusCreated)
}

func (a *app) list(w http.ResponseWriter, _ *http.Request) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(a.rows); err != nil {
		a.t.Error(err)
	}
}

func (a *app) echo(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(w, r.Body)
}

func (a *app) logOut(w http.ResponseWriter, r *http.Request) error {
	session, err := lunasechttp.From(r.Context()).Session()
	if err != nil {
		return err
	}
	_, err = session.RevokeAll(r.Context())
	return err
}

// asks as a session; an empty one is none.
func (a *app) asks(session, method, path, body string) (*http.Response, string) {
	a.t.Helper()
	request := httptest.NewRequest(method, path, strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	request.Header.Set("X-Session", session)
	return a.serve(request)
}

func (a *app) serve(request *http.Request) (*http.Response, string) {
	a.t.Helper()
	bind := lunasechttp.Bind(a.client, func(r *http.Request) (lunasechttp.Who, error) {
		return lunasechttp.Who{Session: r.Header.Get("X-Session")}, nil
	}, lunasechttp.OnError(a.told))
	recorder := httptest.NewRecorder()
	bind(a.mux).ServeHTTP(recorder, request)
	response := recorder.Result()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return response, string(text)
}

// expects a status, and gives the body.
func (a *app) expects(status int, session, method, path, body string) string {
	a.t.Helper()
	response, text := a.asks(session, method, path, body)
	if response.StatusCode != status {
		a.t.Fatalf("%s %s: %d instead of %d: %s", method, path, response.StatusCode, status, text)
	}
	return text
}

// problem that an answer is.
func problem(t *testing.T, text string) lunasechttp.Problem {
	t.Helper()
	var problem lunasechttp.Problem
	if err := json.Unmarshal([]byte(text), &problem); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return problem
}

func (a *app) token(value string) string {
	a.t.Helper()
	tokenized, err := a.client.Tokenize(context.Background(), lunasec.Text(value))
	if err != nil {
		a.t.Fatal(err)
	}
	return tokenized.Token.Expose()
}
