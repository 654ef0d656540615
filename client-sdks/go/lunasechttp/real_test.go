package lunasechttp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/internal/sidecar"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/lunasechttp"
)

func TestHandlersSeeTokensAndUsersSeeValues(t *testing.T) {
	app := newApp(t, sidecar.Strict(t))
	app.expects(201, "alice", "POST", "/customers", `{"name":"Zoë <& co>","card":"4111 1111","extra":12345678901234567890}`)
	row := app.rows[0]
	for _, text := range []string{row.Name, row.Card} {
		if _, err := lunasec.ParseToken(text); err != nil {
			t.Fatalf("the handler got %q", text)
		}
	}
	response, text := app.asks("alice", "GET", "/customers", "")
	var shown []customer
	if err := json.Unmarshal([]byte(text), &shown); err != nil {
		t.Fatal(err)
	}
	if shown[0].Name != "Zoë <& co>" || shown[0].Card != row.Card || response.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s, %v", text, response.Header)
	}
	if response.Header.Get("Lunasec-Degraded") != "" {
		t.Error("a healthy answer is marked")
	}
	// The card was granted, and goes in again; for nobody else.
	app.expects(200, "alice", "POST", "/pay", `{"card":"`+row.Card+`"}`)
	app.expects(200, "alice", "GET", "/cards/"+row.Card+"?also="+row.Name+"&also="+row.Card, "")
	mallory := problem(t, app.expects(403, "mallory", "POST", "/pay", `{"card":"`+row.Card+`"}`))
	never := problem(t, app.expects(403, "mallory", "POST", "/pay", `{"card":"lunasec-00000000-0000-4000-8000-000000000000"}`))
	if mallory != never {
		t.Errorf("who tries tokens learns something: %+v, %+v", mallory, never)
	}
	app.expects(401, "", "POST", "/pay", `{"card":"`+row.Card+`"}`)
	app.expects(403, "alice", "GET", "/cards/"+row.Card+"?also="+app.token("other"), "")
	app.expects(200, "alice", "POST", "/log-out", "")
	app.expects(403, "alice", "POST", "/pay", `{"card":"`+row.Card+`"}`)
	app.expects(401, "", "POST", "/log-out", "")
}

func TestAFormThatIsSentBackKeepsItsTokensAndTakesNoOthers(t *testing.T) {
	app := newApp(t, sidecar.Strict(t))
	app.expects(201, "alice", "POST", "/customers", `{"name":"Zoë","card":"4111"}`)
	card := app.rows[0].Card
	app.expects(403, "alice", "PUT", "/customers", `{"name":"Zoe","card":"`+card+`"}`)
	app.expects(200, "alice", "GET", "/customers", "")
	app.expects(201, "alice", "PUT", "/customers", `{"name":"Zoe","card":"`+card+`"}`)
	if app.rows[1].Card != card || app.rows[1].Name == app.rows[0].Name {
		t.Errorf("%+v", app.rows[1])
	}
	app.expects(403, "mallory", "PUT", "/customers", `{"name":"Zoe","card":"`+card+`"}`)
}

func TestWhatCannotBeTakenIsSaidWithItsFieldAndWithoutItsValue(t *testing.T) {
	app := newApp(t, sidecar.Start(t))
	token := app.token("mine")
	for name, row := range map[string]struct {
		path, body, field string
		status            int
	}{
		"a field is missing":          {"/customers", `{}`, "name", 400},
		"a field is null":             {"/customers", `{"name":null}`, "name", 400},
		"a field is no text":          {"/customers", `{"name":4111}`, "name", 400},
		"a token for a value":         {"/customers", `{"name":"` + token + `"}`, "name", 400},
		"a token that was mangled":    {"/customers", `{"name":" ` + strings.ToUpper(token) + `\u200b"}`, "name", 400},
		"the mask":                    {"/customers", `{"name":"••••"}`, "name", 400},
		"a print":                     {"/customers", `{"name":"[lunasec token: …]"}`, "name", 400},
		"another spelling":            {"/customers", `{"name":"a","NAME":"4111"}`, "name", 400},
		"only another spelling":       {"/customers", `{"name":"a","Card":"4111"}`, "card", 400},
		"no object":                   {"/customers", `["4111"]`, "name", 400},
		"no JSON":                     {"/customers", `4111 1111`, "", 400},
		"two values":                  {"/customers", `{"name":"a"}{"name":"4111"}`, "", 400},
		"half of a surrogate pair":    {"/customers", `{"name":"4111\ud800"}`, "", 400},
		"half beside a replacement":   {"/customers", `{"name":"4111\ufffd\udc00"}`, "", 400},
		"bytes that are no UTF-8":     {"/customers", "{\"name\":\"4111\xff\"}", "", 400},
		"a name that is no UTF-8":     {"/customers", "{\"name\":\"4111\",\"\xff\":1}", "", 400},
		"nothing":                     {"/customers", ``, "", 400},
		"too large a value":           {"/customers", `{"name":"` + strings.Repeat("4111", 300_000) + `"}`, "name", 400},
		"too large a body":            {"/customers", `{"name":"` + strings.Repeat("4111", 5_000_000) + `"}`, "", 413},
		"no token":                    {"/pay", `{"card":"4111 1111"}`, "body.card", 400},
		"a token of another spelling": {"/pay", `{"card":"` + token + `","CARD":"` + token + `"}`, "body.card", 400},
		"no list of tokens":           {"/pay", `{"card":"` + token + `","others":"4111"}`, "body.others[]", 400},
	} {
		response, text := app.asks("alice", "POST", row.path, row.body)
		if response.StatusCode != row.status || response.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d: %s", name, response.StatusCode, text)
			continue
		}
		if problem := problem(t, text); problem.Field != row.field || problem.Retryable {
			t.Errorf("%s: %s", name, text)
		}
		if strings.Contains(text, "4111") || strings.Contains(strings.ToLower(text), token) {
			t.Errorf("%s: the answer shows it: %.200s", name, text)
		}
	}
	if len(app.rows) != 0 {
		t.Errorf("a handler ran: %+v", app.rows)
	}
	for _, err := range app.errors {
		if strings.Contains(err.Error(), "4111") || strings.Contains(err.Error(), token) {
			t.Errorf("an error for the log shows it: %.200s", err)
		}
	}
	request := httptest.NewRequest("POST", "/customers", strings.NewReader("name=4111"))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if response, text := app.serve(request); response.StatusCode != 415 {
		t.Errorf("a form: %d %s", response.StatusCode, text)
	}
}

func TestWhatIsTokenizedIsWhatWasSent(t *testing.T) {
	app := newApp(t, sidecar.Start(t))
	app.expects(201, "alice", "POST", "/customers", `{"name":"\ud83c\udf19 \ufffd \\ud800 Zo\u00eb"}`)
	value, err := app.client.Detokenize(context.Background(), lunasec.TokenOf(app.rows[0].Name))
	if err != nil || !value.Plaintext.Equal(lunasec.Text("🌙 \ufffd \\ud800 Zoë")) {
		t.Errorf("another value was tokenized: %v", err)
	}
}

func TestANameThatComesTwiceIsReadAsItWasLookedAt(t *testing.T) {
	app := newApp(t, sidecar.Start(t))
	mine := app.token("mine")
	text := app.expects(400, "alice", "POST", "/pay", `{"card":"`+mine+`","card":"no token"}`)
	if problem(t, text).Field != "body.card" {
		t.Error(text)
	}
	// encoding/json would put both objects together, and the handler would read a token that nobody has verified.
	app.handle("POST /merge", app.echo, lunasechttp.Verify(lunasechttp.In{Body: lunasechttp.Fields{"a.card?"}}))
	if text := app.expects(200, "alice", "POST", "/merge", `{"a":{"card":"`+mine+`"},"a":{"b":1}}`); text != `{"a":{"b":1}}`+"\n" {
		t.Errorf("the handler reads %s", text)
	}
	app.expects(201, "alice", "POST", "/customers", `{"name":"4111","name":"4222"}`)
	if _, err := lunasec.ParseToken(app.rows[0].Name); err != nil {
		t.Errorf("the handler got %q", app.rows[0].Name)
	}
}

func TestWhileTheSidecarIsAway(t *testing.T) {
	app := newApp(t, sidecar.Start(t))
	for n := range 3 {
		app.expects(201, "alice", "POST", "/customers", fmt.Sprintf(`{"name":"customer %d","card":"4111"}`, n))
	}
	card := app.rows[0].Card
	app.sidecar.Kill()
	for _, row := range [][3]string{
		{"POST", "/customers", `{"name":"v"}`}, {"GET", "/customers", ""}, {"POST", "/pay", `{"card":"` + card + `"}`},
		{"POST", "/log-out", ""},
	} {
		response, text := app.asks("alice", row[0], row[1], row[2])
		problem := problem(t, text)
		if response.StatusCode != 503 || response.Header.Get("Retry-After") != "1" || problem.Code != "sidecar_unreachable" || !problem.Retryable {
			t.Errorf("%v: %d %s", row[:2], response.StatusCode, text)
		}
		if strings.Contains(text, app.sidecar.Socket) {
			t.Errorf("it names the socket: %s", text)
		}
	}
	began := time.Now()
	response, text := app.asks("alice", "GET", "/page", "")
	var shown []customer
	if err := json.Unmarshal([]byte(text), &shown); err != nil || len(shown) != 3 {
		t.Fatalf("%v: %s", err, text)
	}
	if shown[1].Name != lunasec.Mask || shown[1].Card != app.rows[1].Card {
		t.Errorf("%s", text)
	}
	if response.StatusCode != 200 || response.Header.Get("Lunasec-Degraded") != "sidecar_unreachable" {
		t.Errorf("%d %v", response.StatusCode, response.Header)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the page took %v", took)
	}
	app.sidecar.Start()
	if text := app.expects(200, "alice", "GET", "/page", ""); !strings.Contains(text, "customer 2") {
		t.Errorf("it does not recover: %s", text)
	}
}

func TestAPageOfASidecarThatHangsWaitsForTwoSecondsInAll(t *testing.T) {
	app := newApp(t, sidecar.Start(t))
	app.expects(201, "alice", "POST", "/customers", `{"name":"v","card":"4111"}`)
	goOn := app.sidecar.Pause()
	defer goOn()
	began := time.Now()
	text := app.expects(200, "alice", "GET", "/page", "")
	if took := time.Since(began); !strings.Contains(text, lunasec.Mask) || took < 2*time.Second || took >= 3900*time.Millisecond {
		t.Errorf("after %v: %s", took, text)
	}
	ctx, leave := context.WithCancel(context.Background())
	request := httptest.NewRequest("GET", "/customers", nil).WithContext(ctx)
	request.Header.Set("X-Session", "alice")
	leave()
	if response, text := app.serve(request); response.StatusCode != 503 {
		t.Errorf("%d %s", response.StatusCode, text)
	}
}

func TestWhatIsGoneIsNullWhereThePageSaysSo(t *testing.T) {
	app := newApp(t, sidecar.Start(t))
	app.expects(201, "alice", "POST", "/customers", `{"name":"stays"}`)
	app.expects(201, "alice", "POST", "/customers", `{"name":"goes"}`)
	gone := []lunasec.Token{lunasec.TokenOf(app.rows[1].Name)}
	app.rows[0].Card, app.rows[1].Card = "", ""
	app.handle("GET /names", app.list, lunasechttp.Reveal(lunasechttp.Fields{"[].name"}, lunasechttp.GoneIsNull()))
	app.handle("GET /all-names", app.list, lunasechttp.Reveal(lunasechttp.Fields{"[].name"}))
	if _, err := app.client.Delete(context.Background(), gone); err != nil {
		t.Fatal(err)
	}
	if text := app.expects(200, "", "GET", "/names", ""); text != `[{"name":"stays"},{"name":null}]`+"\n" {
		t.Errorf("%s", text)
	}
	app.expects(404, "", "GET", "/all-names", "")
}

func TestOfManySessionsAtOnceNobodySeesWhatIsAnothers(t *testing.T) {
	app := newApp(t, sidecar.Strict(t))
	app.mux.Handle("POST /me", lunasechttp.Grant(lunasechttp.Fields{"name"})(
		lunasechttp.Reveal(lunasechttp.Fields{"name"})(
			lunasechttp.Tokenize(lunasechttp.Fields{"name"})(http.HandlerFunc(app.echo)))))
	var wait sync.WaitGroup
	for user := range 60 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			session, name := fmt.Sprint("user-", user), fmt.Sprint("name of ", user)
			for range 5 {
				response, text := app.asks(session, "POST", "/me", `{"name":"`+name+`"}`)
				if response.StatusCode != 200 || text != `{"name":"`+name+`"}`+"\n" {
					t.Errorf("%d: %s", response.StatusCode, text)
				}
			}
		}()
	}
	wait.Wait()
}

func TestAnAnswerThatIsNotJSONGoesOutAsItIs(t *testing.T) {
	app := newApp(t, sidecar.Start(t))
	token := app.token("4111")
	reveal := lunasechttp.Reveal(lunasechttp.Fields{"card"})
	said := `{"card":"` + token + `"}`
	for name, row := range map[string]struct {
		kind, body string
		status     int
		revealed   bool
	}{
		"JSON":                      {"application/json", said, 200, true},
		"JSON that does not say so": {"", said, 201, true},
		"problem of its own":        {"application/problem+json", said, 409, false},
		"text":                      {"text/plain", said, 200, false},
		"text that says nothing":    {"", "card " + token, 200, false},
		"nothing":                   {"", "", 204, false},
	} {
		handler := reveal(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if row.kind != "" {
				w.Header().Set("Content-Type", row.kind)
			}
			w.WriteHeader(row.status)
			_, _ = w.Write([]byte(row.body))
		}))
		app.mux = http.NewServeMux()
		app.mux.Handle("/", handler)
		response, text := app.asks("", "GET", "/", "")
		if response.StatusCode != row.status || strings.Contains(text, "4111") != row.revealed {
			t.Errorf("%s: %d %s", name, response.StatusCode, text)
		}
	}
	for name, body := range map[string]string{"half a pair": `{"card":"` + token + `","x":"\ud800"}`, "no UTF-8": "{\"x\":\"\xff\"}", "no token": `{"card":"4111"}`, "no JSON": `{"card":`, "a print": `{"card":"` + fmt.Sprint(lunasec.TokenOf(token)) + `"}`} {
		app.mux = http.NewServeMux()
		app.mux.Handle("/", reveal(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body))
		})))
		if response, text := app.asks("", "GET", "/", ""); response.StatusCode != 500 || strings.Contains(text, "4111") {
			t.Errorf("%s: %d %s", name, response.StatusCode, text)
		}
	}
}

func TestWhatAHandlerSaysOfItsBodyIsNotSaidOfTheOneThatGoesOut(t *testing.T) {
	app := newApp(t, sidecar.Strict(t))
	app.expects(201, "alice", "POST", "/customers", `{"name":"Zoë"}`)
	name := app.rows[0].Name
	ofBody := []string{"Etag", "Last-Modified", "Accept-Ranges", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest"}
	body, caching := "", ""
	list := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for _, header := range ofBody {
			w.Header().Set(header, "of this")
		}
		if caching != "" {
			w.Header().Set("Cache-Control", caching)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(body))
	})
	app.handle("GET /granted", list, lunasechttp.Grant(lunasechttp.Fields{"name"}))
	app.handle("GET /revealed", list, lunasechttp.Reveal(lunasechttp.Fields{"name"}))
	for _, row := range []struct {
		path, session, body, caching, said string
		status                             int
	}{
		{"/granted", "alice", name, "", "", 200},
		{"/revealed", "alice", name, "", "no-store", 200},
		{"/revealed", "alice", name, "private", "private", 200},
		{"/revealed", "mallory", name, "private", "no-store", 403},
		{"/revealed", "alice", "no token", "private", "no-store", 500},
	} {
		body, caching = `{"name":"`+row.body+`"}`, row.caching
		response, text := app.asks(row.session, "GET", row.path, "")
		if response.StatusCode != row.status || response.Header.Get("Cache-Control") != row.said {
			t.Errorf("%+v: %d %v %s", row, response.StatusCode, response.Header, text)
		}
		for _, header := range ofBody {
			if response.Header.Get(header) != "" {
				t.Errorf("%s of %s goes out", header, row.path)
			}
		}
	}
}

func TestMistakesOfARouteArePanicsAndThoseOfAnApplicationAre500(t *testing.T) {
	for _, field := range []string{"", "a..b", "a]", "[x]", "a.", ".a", "a?b"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q is a field", field)
				}
			}()
			lunasechttp.Reveal(lunasechttp.Fields{field})
		}()
	}
	app := newApp(t, sidecar.Prepare(t))
	recorder := httptest.NewRecorder()
	request := httptest.NewRequest("POST", "/customers", strings.NewReader(`{"name":"v"}`))
	if app.mux.ServeHTTP(recorder, request); recorder.Code != 500 {
		t.Errorf("without Bind: %d", recorder.Code)
	}
	wrong := errors.New("secret: the session store is away")
	bind := lunasechttp.Bind(app.client, func(*http.Request) (lunasechttp.Who, error) { return lunasechttp.Who{}, wrong },
		lunasechttp.OnError(app.told))
	recorder = httptest.NewRecorder()
	bind(app.mux).ServeHTTP(recorder, httptest.NewRequest("POST", "/log-out", nil))
	if recorder.Code != 500 || strings.Contains(recorder.Body.String(), "secret") || len(app.errors) != 1 || app.errors[0] != wrong {
		t.Errorf("%d %s %v", recorder.Code, recorder.Body, app.errors)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a request is bound twice")
			}
		}()
		bind(bind(app.mux)).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/log-out", nil))
	}()
}

func TestASessionIsAskedForOnceAndAnewAfterALogin(t *testing.T) {
	app := newApp(t, sidecar.Strict(t))
	asked, session := 0, "before"
	bind := lunasechttp.Bind(app.client, func(*http.Request) (lunasechttp.Who, error) {
		asked++
		return lunasechttp.Who{Session: session}, nil
	})
	token := app.token("4111")
	logIn := lunasechttp.Grant(lunasechttp.Fields{"card"})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		here := lunasechttp.From(r.Context())
		for range 2 {
			if _, err := here.Session(); err != nil {
				t.Error(err)
			}
		}
		session = "after"
		here.Rebind()
		_ = json.NewEncoder(w).Encode(map[string]any{"card": lunasec.Exposed{Token: lunasec.TokenOf(token)}})
	}))
	recorder := httptest.NewRecorder()
	bind(logIn).ServeHTTP(recorder, httptest.NewRequest("POST", "/", nil))
	if recorder.Code != 200 || asked != 2 {
		t.Fatalf("%d, asked %d times", recorder.Code, asked)
	}
	app.expects(200, "after", "POST", "/pay", `{"card":"`+token+`"}`)
	app.expects(403, "before", "POST", "/pay", `{"card":"`+token+`"}`)
}
