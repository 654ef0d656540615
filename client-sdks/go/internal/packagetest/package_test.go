package packagetest

import (
	"archive/zip"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/internal/sidecar"
)

const (
	core     = "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
	grpc     = core + "/grpc"
	version  = "v0.1.0"
	released = `{"Version":"` + version + `","Time":"2026-01-02T03:04:05Z"}`
)

func TestMain(m *testing.M) { sidecar.Main(m) }

// must do without an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// packed makes what a proxy has of a module, from its directory, and gives the names in its archive.
func packed(t *testing.T, proxy, path, directory string) []string {
	t.Helper()
	escaped, err := module.EscapePath(path)
	must(t, err)
	at := filepath.Join(proxy, escaped, "@v")
	must(t, os.MkdirAll(at, 0o755))
	mod, err := os.ReadFile(filepath.Join(directory, "go.mod"))
	must(t, err)
	for name, text := range map[string]string{"list": version + "\n", version + ".info": released, version + ".mod": string(mod)} {
		must(t, os.WriteFile(filepath.Join(at, name), []byte(text), 0o644))
	}
	archive := filepath.Join(at, version+".zip")
	file, err := os.Create(archive)
	must(t, err)
	must(t, modzip.CreateFromDir(file, module.Version{Path: path, Version: version}, committed(t, directory)))
	must(t, file.Close())
	read, err := zip.OpenReader(archive)
	must(t, err)
	defer read.Close()
	var names []string
	for _, each := range read.File {
		names = append(names, strings.TrimPrefix(each.Name, path+"@"+version+"/"))
	}
	return names
}

// committed is a copy of a directory without what is built in it.
func committed(t *testing.T, directory string) string {
	t.Helper()
	into := t.TempDir()
	must(t, filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(directory, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if entry.Name() == ".build" {
				return fs.SkipDir
			}
			return os.MkdirAll(filepath.Join(into, name), 0o755)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(into, name), content, 0o644)
	}))
	return into
}

// clean is a place with a cache of its own, which gets our modules from the proxy and all others as ever.
type clean struct {
	t           *testing.T
	directory   string
	environment []string
}

func cleanPlace(t *testing.T, proxy string) *clean {
	t.Helper()
	directory, cache := t.TempDir(), emptied(t)
	// What was downloaded before need not be again.
	known := "file://" + filepath.Join(said(t, "GOMODCACHE"), "cache", "download")
	// Without Go's index of modules: it takes our version for what it was when it was packed before.
	place := &clean{t, directory, append(os.Environ(), "GODEBUG=goindex=0",
		"GOMODCACHE="+cache, "GOFLAGS=-mod=mod -modcacherw", "GOWORK=off",
		"GOPROXY=file://"+proxy+","+known+","+said(t, "GOPROXY"), "GONOSUMDB="+core+","+grpc,
	)}
	place.run("go", "mod", "init", "example.com/shop")
	return place
}

// emptied is a cache of modules in which there are none of ours. Its place stays the same, so that what others are built of
// stays known.
func emptied(t *testing.T) string {
	t.Helper()
	root := os.Getenv("LUNASEC_CACHE")
	if root == "" {
		home, err := os.UserHomeDir()
		must(t, err)
		root = filepath.Join(home, ".cache", "lunasec-sidecar")
	}
	cache := filepath.Join(root, "go", "modules")
	for _, ours := range []string{"github.com/lunasec-io", "cache/download/github.com/lunasec-io"} {
		must(t, os.RemoveAll(filepath.Join(cache, ours)))
	}
	return cache
}

func said(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	must(t, err)
	return strings.TrimSpace(string(out))
}

func (c *clean) run(name string, arguments ...string) string {
	c.t.Helper()
	command := exec.Command(name, arguments...)
	command.Dir, command.Env = c.directory, c.environment
	out, err := command.CombinedOutput()
	if err != nil {
		c.t.Fatalf("%s %s: %v\n%s", name, strings.Join(arguments, " "), err, out)
	}
	return string(out)
}

func (c *clean) write(source string) {
	c.t.Helper()
	must(c.t, os.WriteFile(filepath.Join(c.directory, "main.go"), []byte(source), 0o644))
}

const program = `package main

import (
	"context"
	"fmt"
	"log"
	"net/http"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/lunasechttp"
)

func main() {
	client, err := lunasec.New()
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	tokenized, err := client.Tokenize(context.Background(), lunasec.Text("4111"))
	if err != nil {
		log.Fatal(err)
	}
	value, err := client.Detokenize(context.Background(), tokenized.Token)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(value.Reveal())
	_ = lunasechttp.Tokenize(lunasechttp.Fields{"card"})(http.NotFoundHandler())
}
`

const withInterceptors = `package main

import (
	"fmt"
	"log"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
	lunasecgrpc "github.com/lunasec-io/lunasec-sidecar/client-sdks/go/grpc"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/grpc/lunasecpb"
)

func main() {
	client, err := lunasec.New()
	if err != nil {
		log.Fatal(err)
	}
	if _, err := lunasecgrpc.NewServer(lunasecgrpc.Options{Client: client}); err != nil {
		log.Fatal(err)
	}
	fmt.Println((&lunasecpb.FieldRules{Tokenize: true}).GetTokenize())
}
`

func TestTheClientIsInstalledFromItsModuleAndUsed(t *testing.T) {
	proxy := t.TempDir()
	names := packed(t, proxy, core, "../..")
	has := map[string]bool{}
	for _, name := range names {
		has[name] = true
		if strings.HasPrefix(name, "grpc/") || strings.HasPrefix(name, "samples/") || strings.HasPrefix(name, ".build") {
			t.Errorf("%s is in the client's module", name)
		}
	}
	for _, wanted := range []string{"LICENSE", "README.md", "go.mod", "doc.go", "lunasechttp/doc.go"} {
		if !has[wanted] {
			t.Errorf("%s is missing", wanted)
		}
	}
	place := cleanPlace(t, proxy)
	place.write(program)
	place.run("go", "get", core+"@"+version)
	sidecar := sidecar.Start(t)
	place.environment = append(place.environment, "LUNASEC_SOCKET="+sidecar.Socket)
	if said := place.run("go", "run", "."); said != "4111 <nil>\n" {
		t.Errorf("%q", said)
	}
	place.run("go", "vet", ".")
	if all := place.run("go", "list", "-m", "all"); all != fmt.Sprintf("example.com/shop\n%s %s\n", core, version) {
		t.Errorf("it brings others along:\n%s", all)
	}
}

func TestTheInterceptorsAreInstalledFromTheirModule(t *testing.T) {
	proxy := t.TempDir()
	packed(t, proxy, core, "../..")
	names := packed(t, proxy, grpc, "../../grpc")
	if all := " " + strings.Join(names, " ") + " "; !strings.Contains(all, " LICENSE ") || !strings.Contains(all, " proto/lunasec/options.proto ") || !strings.Contains(all, " README.md ") || strings.Contains(all, "grpctest") {
		t.Errorf("%s", all)
	}
	place := cleanPlace(t, proxy)
	place.write(withInterceptors)
	place.run("go", "get", grpc+"@"+version)
	if said := place.run("go", "run", "."); said != "true\n" {
		t.Errorf("%q", said)
	}
}
