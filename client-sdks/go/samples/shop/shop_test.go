package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/internal/sidecar"
)

// secret is a card or a token.
var secret = regexp.MustCompile(`4111|lunasec-[0-9a-f]{8}-`)

const password = "of the desk"

// program is the shop as a process, as somebody runs it.
type program struct {
	t        *testing.T
	url      string
	database string
	output   *bytes.Buffer
}

func started(t *testing.T, sidecar *sidecar.Sidecar) *program {
	t.Helper()
	directory := t.TempDir()
	binary := filepath.Join(directory, "shop")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	program := &program{t: t, database: filepath.Join(directory, "shop.db"), output: &bytes.Buffer{}}
	process := exec.Command(binary, "-listen", "127.0.0.1:0", "-database", program.database)
	process.Env = append(os.Environ(), "LUNASEC_SOCKET="+sidecar.Socket, "SHOP_DESK_PASSWORD="+password)
	process.Stderr = program.output
	said, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(said)
	if !lines.Scan() {
		t.Fatalf("the shop does not start: %s", program.output)
	}
	program.url = lines.Text()
	t.Cleanup(func() {
		if err := process.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := process.Wait(); err != nil {
			t.Errorf("the shop does not end in order: %v\n%s", err, program.output)
		}
		if secret.MatchString(program.output.String()) {
			t.Errorf("its log shows what it must not:\n%s", program.output)
		}
	})
	return program
}

// user of the shop, who is signed in.
type user struct {
	program *program
	client  *http.Client
}

func (p *program) user() *user {
	p.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	transport := &http.Transport{}
	p.t.Cleanup(transport.CloseIdleConnections)
	user := &user{p, &http.Client{Jar: jar, Transport: transport}}
	user.asks(200, "POST", "/sign-in", "")
	return user
}

// desk is somebody of the support desk, who is signed in.
func (p *program) desk() *user {
	p.t.Helper()
	user := p.user()
	user.signsInAtTheDesk(200, password)
	return user
}

func (u *user) signsInAtTheDesk(status int, password string) {
	u.program.t.Helper()
	response, err := u.client.PostForm(u.program.url+"/desk/sign-in", url.Values{"password": {password}})
	if err != nil {
		u.program.t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != status {
		u.program.t.Fatalf("signing in at the desk: %d instead of %d", response.StatusCode, status)
	}
}

func (u *user) asks(status int, method, path, body string) string {
	u.program.t.Helper()
	request, err := http.NewRequest(method, u.program.url+path, strings.NewReader(body))
	if err != nil {
		u.program.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := u.client.Do(request)
	if err != nil {
		u.program.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		u.program.t.Fatal(err)
	}
	if response.StatusCode != status {
		u.program.t.Fatalf("%s %s: %d instead of %d: %s", method, path, response.StatusCode, status, text)
	}
	return string(text)
}

func (u *user) card() string {
	u.program.t.Helper()
	var me struct{ Card string }
	if err := json.Unmarshal([]byte(u.asks(200, "GET", "/me", "")), &me); err != nil {
		u.program.t.Fatal(err)
	}
	return me.Card
}

func TestTheShopWhoseDatabaseHoldsOnlyTokens(t *testing.T) {
	sidecar := sidecar.Start(t)
	shop := started(t, sidecar)
	zoe, mallory, desk := shop.user(), shop.user(), shop.desk()
	zoe.asks(201, "POST", "/me", `{"name":"Zoë","card":"4111 1111 1111 1111"}`)
	if me := zoe.asks(200, "GET", "/me", ""); !strings.Contains(me, `"name":"Zoë"`) || strings.Contains(me, "4111") {
		t.Errorf("%s", me)
	}
	card := zoe.card()
	zoe.asks(201, "POST", "/orders", `{"card":"`+card+`","item":"a lamp"}`)
	mallory.asks(403, "POST", "/orders", `{"card":"`+card+`","item":"a lamp"}`)
	mallory.asks(403, "POST", "/me", `{"name":"Mallory","card":"`+card+`"}`)
	mallory.asks(404, "GET", "/me", "")
	// The form that she was given goes back with another name.
	zoe.asks(201, "POST", "/me", `{"name":"Zoë B.","card":"`+card+`"}`)
	if zoe.card() != card {
		t.Error("her card is another one")
	}
	mallory.asks(403, "GET", "/customers", "")
	for _, wrong := range []string{"", "wrong"} {
		mallory.signsInAtTheDesk(403, wrong)
	}
	mallory.asks(403, "GET", "/customers", "")
	(&user{shop, http.DefaultClient}).asks(401, "GET", "/customers", "")
	if names := desk.asks(200, "GET", "/customers", ""); names != `{"names":["Zoë B."]}`+"\n" {
		t.Errorf("%s", names)
	}
	files, err := filepath.Glob(shop.database + "*")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		kept, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(kept, []byte("4111")) || bytes.Contains(kept, []byte("Zo")) || !bytes.Contains(kept, []byte("lunasec-")) {
			t.Errorf("%s holds what it must not", file)
		}
	}
	zoe.asks(200, "POST", "/sign-out", "")
	zoe.asks(401, "POST", "/orders", `{"card":"`+card+`","item":"a lamp"}`)
}

func TestTheShopDuringAnOutageAndAfterIt(t *testing.T) {
	sidecar := sidecar.Start(t)
	shop := started(t, sidecar)
	zoe, desk := shop.user(), shop.desk()
	zoe.asks(201, "POST", "/me", `{"name":"Zoë","card":"4111"}`)
	card := zoe.card()
	sidecar.Kill()
	if names := desk.asks(200, "GET", "/customers", ""); names != `{"names":["••••"]}`+"\n" {
		t.Errorf("%s", names)
	}
	for _, row := range [][3]string{{"POST", "/orders", `{"card":"` + card + `"}`}, {"POST", "/me", `{"name":"v"}`}, {"GET", "/me", ""}} {
		if problem := zoe.asks(503, row[0], row[1], row[2]); !strings.Contains(problem, `"code":"sidecar_unreachable"`) {
			t.Errorf("%s", problem)
		}
	}
	// What the page showed instead of the name is not taken for it.
	zoe.asks(400, "POST", "/me", `{"name":"••••"}`)
	sidecar.Start()
	zoe.asks(201, "POST", "/orders", `{"card":"`+card+`","item":"a lamp"}`)
	if names := desk.asks(200, "GET", "/customers", ""); names != `{"names":["Zoë"]}`+"\n" {
		t.Errorf("%s", names)
	}
}

func TestManyCustomersAtOnceSeeWhatIsTheirs(t *testing.T) {
	shop := started(t, sidecar.Start(t))
	var wait sync.WaitGroup
	for n := range 20 {
		customer, name := shop.user(), fmt.Sprint("customer ", n)
		wait.Add(1)
		go func() {
			defer wait.Done()
			customer.asks(201, "POST", "/me", `{"name":"`+name+`"}`)
			if me := customer.asks(200, "GET", "/me", ""); !strings.Contains(me, `"name":"`+name+`"`) {
				t.Errorf("%s sees %s", name, me)
			}
		}()
	}
	wait.Wait()
}
