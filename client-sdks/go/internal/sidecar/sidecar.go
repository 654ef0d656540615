// Package sidecar runs the release binary for tests: LUNASEC_BIN.
package sidecar

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const patience = 60 * time.Second

// Sidecar is one in a directory of its own.
type Sidecar struct {
	Socket    string
	directory string
	arguments []string
	t         testing.TB

	mutex   sync.Mutex
	process *exec.Cmd
}

// Start a sidecar that allows everything to whoever runs the test, and wait until it serves.
func Start(t testing.TB) *Sidecar {
	t.Helper()
	sidecar := Prepare(t)
	sidecar.Start()
	return sidecar
}

// Strict is one that reveals only to sessions what they were granted.
func Strict(t testing.TB) *Sidecar {
	t.Helper()
	sidecar := Prepare(t)
	config := filepath.Join(sidecar.directory, "lunasec.toml")
	text := fmt.Sprintf(`
[listen]
socket = %[1]q
admin = "127.0.0.1:0"
[storage]
kind = "embedded"
path = "%[2]s/store"
[keys]
kind = "local"
path = "%[2]s/key"
[[clients]]
name = "shop"
uid = %[3]d
namespaces = ["default"]
operations = ["tokenize", "detokenize", "metadata", "grants", "delete"]
require_grant = true
`, sidecar.Socket, sidecar.directory, os.Getuid())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sidecar.arguments = []string{"serve", "--config", config}
	sidecar.Start()
	return sidecar
}

// Prepare one that is not started yet.
func Prepare(t testing.TB) *Sidecar {
	t.Helper()
	if os.Getenv("LUNASEC_BIN") == "" {
		t.Fatal("LUNASEC_BIN is not set: build the sidecar (cargo build --release -p lunasec-sidecar), and set it to the binary")
	}
	// Not t.TempDir: the path of a socket has to be short.
	directory, err := os.MkdirTemp("", "lunasec-")
	if err != nil {
		t.Fatal(err)
	}
	sidecar := &Sidecar{Socket: filepath.Join(directory, "s"), directory: directory, t: t}
	sidecar.arguments = []string{"dev", "--dir", directory, "--socket", sidecar.Socket, "--admin", "127.0.0.1:0"}
	t.Cleanup(func() {
		sidecar.Kill()
		if err := os.RemoveAll(directory); err != nil {
			t.Error(err)
		}
	})
	return sidecar
}

// Start it, and wait until it says that it serves.
func (s *Sidecar) Start() {
	s.t.Helper()
	process := exec.Command(os.Getenv("LUNASEC_BIN"), s.arguments...)
	process.Env = without(os.Environ(), "LUNASEC_")
	log, err := process.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.mutex.Lock()
	s.process = process
	s.mutex.Unlock()
	serving, said := make(chan bool, 1), &strings.Builder{}
	go follow(bufio.NewScanner(log), serving, said)
	select {
	case ok := <-serving:
		if !ok {
			s.t.Fatalf("the sidecar does not start:\n%s", said)
		}
	case <-time.After(patience):
		s.t.Fatal("the sidecar does not start in time")
	}
}

// follow a log to its end, so that its writer never waits.
func follow(lines *bufio.Scanner, serving chan<- bool, said *strings.Builder) {
	begun := false
	for lines.Scan() {
		if begun {
			continue
		}
		said.WriteString(lines.Text() + "\n")
		if begun = strings.Contains(lines.Text(), "serving"); begun {
			serving <- true
		}
	}
	if !begun {
		serving <- false
	}
}

// Stop it as an operator does.
func (s *Sidecar) Stop() { s.end(syscall.SIGTERM) }

// Kill it as the kernel does.
func (s *Sidecar) Kill() { s.end(syscall.SIGKILL) }

// Restart it as an operator does.
func (s *Sidecar) Restart() {
	s.t.Helper()
	s.Stop()
	s.Start()
}

// Pause it, so that it takes connections and answers nothing, and say how it goes on.
func (s *Sidecar) Pause() (goOn func()) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	process := s.process.Process
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		s.t.Error(err)
	}
	return func() {
		if err := process.Signal(syscall.SIGCONT); err != nil {
			s.t.Error(err)
		}
	}
}

func (s *Sidecar) end(how syscall.Signal) {
	s.mutex.Lock()
	process := s.process
	s.process = nil
	s.mutex.Unlock()
	if process == nil {
		return
	}
	if err := process.Process.Signal(how); err != nil {
		s.t.Error(err)
	}
	// Its status says only how it was ended.
	_ = process.Wait()
}

func without(environment []string, prefix string) []string {
	var kept []string
	for _, each := range environment {
		if !strings.HasPrefix(each, prefix) {
			kept = append(kept, each)
		}
	}
	return kept
}
