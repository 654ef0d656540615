package lunasechttp_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/internal/sidecar"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/lunasechttp"
)

const (
	encoded   = "application/x-www-form-urlencoded"
	multipart = "multipart/form-data; boundary=b"
)

func part(name, value string) string {
	return "--b\r\nContent-Disposition: form-data; name=" + name + "\r\n\r\n" + value + "\r\n"
}

func formOf(session, path, kind, body string) *http.Request {
	request := httptest.NewRequest("POST", path, strings.NewReader(body))
	request.Header.Set("X-Session", session)
	request.Header.Set("Content-Type", kind)
	return request
}

func TestAFormDoesNotBringPastTheQueryWhatNobodyHasVerified(t *testing.T) {
	app := newApp(t, sidecar.Strict(t))
	app.expects(201, "alice", "POST", "/customers", `{"name":"a","card":"4111"}`)
	app.expects(200, "alice", "GET", "/customers", "")
	mine, others := app.rows[0].Card, app.token("somebody else's")
	seen := ""
	verify := lunasechttp.Verify(lunasechttp.In{Query: []string{"card?"}})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 1<<30)
		_ = r.FormValue("card")
		seen = fmt.Sprintf("%v %v %s", r.Form["card"], r.PostForm["card"], r.FormValue("note"))
	}))
	app.mux.Handle("POST /pay-by-form", verify)
	parsing := func(parse func(*http.Request) error) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := parse(r); err != nil {
				t.Error(err)
			}
			verify.ServeHTTP(w, r)
		})
	}
	app.mux.Handle("POST /parsed", parsing(func(r *http.Request) error { return r.ParseForm() }))
	app.mux.Handle("POST /parsed-whole", parsing(func(r *http.Request) error { return r.ParseMultipartForm(1 << 20) }))
	app.mux.Handle("POST /put-there", parsing(func(r *http.Request) error {
		r.Form = url.Values{"card": {others}}
		return nil
	}))
	app.mux.Handle("POST /by-parts", parsing(func(r *http.Request) error {
		parts, err := r.MultipartReader()
		r.Form = url.Values{}
		t.Cleanup(func() {
			if next, err := parts.NextPart(); err != nil || next.FormName() != "note" {
				t.Errorf("the parts are gone: %v", err)
			}
		})
		return err
	}))
	long := strings.Repeat("x", 11<<20)
	for name, row := range map[string]struct {
		path, kind, body, field string
		status                  int
	}{
		"a form":                      {"/pay-by-form?card=" + mine, encoded, "card=" + others, "", 403},
		"a form that has both":        {"/pay-by-form?card=" + mine, encoded, "card=" + mine + "&card=" + others, "", 403},
		"without a query":             {"/pay-by-form", encoded, "card=" + others, "", 403},
		"with a wrong parameter":      {"/pay-by-form?card=" + mine, encoded + "; x", "card=" + others, "", 403},
		"longer than a form often is": {"/pay-by-form?card=" + mine, encoded, "x=" + long + "&card=" + others, "", 403},
		"half of it wrong":            {"/pay-by-form?card=" + mine, encoded, "a;b=%zz&card=" + others, "", 403},
		"in parts":                    {"/pay-by-form", multipart, part("card", others) + "--b--", "", 403},
		"in parts, beside a query":    {"/pay-by-form?card=" + mine, multipart, part("card", others) + "--b--", "", 403},
		"read before":                 {"/parsed?card=" + mine, encoded, "card=" + others, "", 403},
		"the half of it read before":  {"/parsed?card=" + mine, multipart, part("card", others) + "--b--", "", 403},
		"parts that were read before": {"/parsed-whole", multipart, part("card", others) + "--b--", "", 403},
		"put there by somebody else":  {"/put-there?card=" + mine, multipart, part("note", "n") + "--b--", "", 403},
		"no token":                    {"/pay-by-form?card=" + mine, encoded, "card=4111", "form.card", 400},
		"too large":                   {"/pay-by-form?card=" + mine, encoded, "x=" + long + long, "", 413},
		"too many":                    {"/pay-by-form?card=" + mine, encoded, strings.Repeat("card="+mine+"&", 10_001), "", 413},
	} {
		seen = ""
		response, text := app.serve(formOf("alice", row.path, row.kind, row.body))
		if response.StatusCode != row.status || problem(t, text).Field != row.field || seen != "" || strings.Contains(text, "4111") {
			t.Errorf("%s: %d %.200s, the handler sees %.200s", name, response.StatusCode, text, seen)
		}
	}
	for name, row := range map[string][4]string{
		"a form of its own":  {"/pay-by-form?card=" + mine, encoded, "note=n", "[" + mine + "] [] n"},
		"the same in a form": {"/pay-by-form?card=" + mine, encoded, "note=n&card=" + mine, fmt.Sprintf("[%s %s] [%s] n", mine, mine, mine)},
		"parts":              {"/pay-by-form?card=" + mine, multipart, part("note", "n") + "--b--", "[" + mine + "] [] n"},
		"read before":        {"/parsed-whole?card=" + mine, multipart, part("note", "n") + "--b--", "[" + mine + "] [] n"},
		"read part by part":  {"/by-parts?card=" + mine, multipart, part("note", "n") + "--b--", "[] [] "},
		"no form":            {"/pay-by-form?card=" + mine, "text/plain", "card=" + others, "[" + mine + "] [] "},
	} {
		if response, text := app.serve(formOf("alice", row[0], row[1], row[2])); response.StatusCode != 200 || seen != row[3] {
			t.Errorf("%s: %d %s, the handler sees %s", name, response.StatusCode, text, seen)
		}
	}
}

func TestABodyBesideAVerifiedQueryIsThereForTheHandlerAndTheSessionFunction(t *testing.T) {
	app := newApp(t, sidecar.Strict(t))
	app.expects(201, "alice", "POST", "/customers", `{"name":"a","card":"4111"}`)
	app.expects(200, "alice", "GET", "/customers", "")
	path := "/?card=" + app.rows[0].Card
	var read func(*http.Request) string
	verify := lunasechttp.Verify(lunasechttp.In{Query: []string{"card"}}, lunasechttp.MaxBytes(32<<20))(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if text := read(r); text != "n" {
			t.Errorf("the handler reads %.50q", text)
		}
	}))
	byHeader := func(r *http.Request) (lunasechttp.Who, error) {
		return lunasechttp.Who{Session: r.Header.Get("X-Session")}, nil
	}
	byForm := func(r *http.Request) (lunasechttp.Who, error) {
		return lunasechttp.Who{Session: r.FormValue("session")}, nil
	}
	whole := func(r *http.Request) string {
		raw, _ := io.ReadAll(r.Body)
		return string(raw)
	}
	for name, row := range map[string]struct {
		session    func(*http.Request) (lunasechttp.Who, error)
		header     string
		kind, body string
		read       func(*http.Request) string
	}{
		"as it came": {byHeader, "alice", encoded, "n", whole},
		"part by part": {byHeader, "alice", multipart, part("x", strings.Repeat("x", 20<<20)) + part("note", "n") + "--b--", func(r *http.Request) string {
			parts, err := r.MultipartReader()
			if err != nil {
				return err.Error()
			}
			for {
				next, err := parts.NextPart()
				if err != nil {
					return err.Error()
				}
				if next.FormName() == "note" {
					raw, _ := io.ReadAll(next)
					return string(raw)
				}
			}
		}},
		"by who asks for a session": {byForm, "", encoded, "session=alice&note=n", func(r *http.Request) string { return r.PostFormValue("note") }},
	} {
		read = row.read
		if answer := app.answered(row.session, verify, formOf(row.header, path, row.kind, row.body)); answer.Code != 200 {
			t.Errorf("%s: %d %s", name, answer.Code, answer.Body)
		}
	}
}
