package lunasec_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/internal/sidecar"
)

// application is what the README's snippets take for granted.
const application = `package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/lunasechttp"
)

var seen []any

func charge(text string, err error)     { render(text, err) }
func render(shown ...any)               { seen = append(seen, shown...) }
func respond(status int)                { render(status) }
func sessionOf(r *http.Request) string  { return r.Header.Get("x-session") }

var create http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
var list http.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "[]") })

func serve(handler http.Handler) {
	recorder := httptest.NewRecorder()
	body := strings.NewReader("{\"name\":\"Zoe\",\"cards\":[{\"number\":\"4111\"}]}")
	request := httptest.NewRequest("POST", "/customers", body)
	request.Header.Set("content-type", "application/json")
	handler.ServeHTTP(recorder, request)
	render(recorder.Code, strings.Count(recorder.Body.String(), "lunasec-"))
}

// rows is a database with one row.
type rows struct{ token string; done bool }

func (r *rows) Connect(context.Context) (driver.Conn, error)  { return r, nil }
func (r *rows) Driver() driver.Driver                         { return nil }
func (r *rows) Prepare(string) (driver.Stmt, error)           { return r, nil }
func (r *rows) Begin() (driver.Tx, error)                     { return nil, errors.New("no") }
func (r *rows) Close() error                                  { return nil }
func (r *rows) NumInput() int                                 { return 0 }
func (r *rows) Exec([]driver.Value) (driver.Result, error)    { return nil, errors.New("no") }
func (r *rows) Query([]driver.Value) (driver.Rows, error)     { return r, nil }
func (r *rows) Columns() []string                             { return []string{"name", "card"} }
func (r *rows) Next(into []driver.Value) error {
	if r.done {
		return io.EOF
	}
	r.done, into[0], into[1] = true, r.token, nil
	return nil
}

func main() {
	client, err := lunasec.New()
	if err != nil {
		log.Fatal(err)
	}
	tokenized, err := client.Tokenize(context.Background(), lunasec.Text("4111"))
	if err != nil {
		log.Fatal(err)
	}
	token := tokenized.Token
	if err := run(context.Background(), client, token, []lunasec.Token{token}, sql.OpenDB(&rows{token: token.Expose()})); err != nil {
		log.Fatal(err)
	}
	fmt.Print(seen...)
}

func run(ctx context.Context, client *lunasec.Client, token lunasec.Token, tokens []lunasec.Token, db *sql.DB) error {
`

// snippets of a document.
func snippets(t *testing.T, path string) (programs, others []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		if strings.HasPrefix(found[1], "package main") {
			programs = append(programs, found[1])
		} else {
			others = append(others, found[1])
		}
	}
	return programs, others
}

// output of a program, in a module of its own that uses this one.
func output(t *testing.T, source, socket string) string {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	module := "module example\n\ngo 1.23.0\n\nrequire github.com/lunasec-io/lunasec-sidecar/client-sdks/go v0.1.0\n\n" +
		"replace github.com/lunasec-io/lunasec-sidecar/client-sdks/go => " + here + "\n"
	for name, text := range map[string]string{"go.mod": module, "main.go": source} {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.Command("go", "run", ".")
	command.Dir, command.Env = directory, append(os.Environ(), "LUNASEC_SOCKET="+socket)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func TestTheQuickStartRunsAsItStands(t *testing.T) {
	programs, _ := snippets(t, "README.md")
	if len(programs) != 1 {
		t.Fatalf("%d programs", len(programs))
	}
	if said := output(t, programs[0], sidecar.Start(t).Socket); said != "[lunasec plaintext: Reveal() gives its text] 4111\n" {
		t.Errorf("%q", said)
	}
}

func TestTheReadmesSnippetsRun(t *testing.T) {
	_, others := snippets(t, "README.md")
	if len(others) != 7 {
		t.Fatalf("%d snippets: the number here says that none is lost", len(others))
	}
	source := application + strings.Join(others, "\n") + "\nreturn nil\n}\n"
	said := output(t, source, sidecar.Start(t).Socket)
	wanted := "4111<nil>4111<nil>4111<nil>{[lunasec token: Expose() gives its text] [lunasec plaintext: Reveal() gives its text] { 0s}}<nil>4111<nil>200 2"
	if strings.ReplaceAll(said, " ", "") != strings.ReplaceAll(wanted, " ", "") {
		t.Errorf("%q", said)
	}
}
