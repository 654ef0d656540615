package sidecar

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Main runs a package's tests and fails if one of them left a goroutine of this module behind.
func Main(m *testing.M) {
	code := m.Run()
	if left := leaks(); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "FAIL: goroutines were left behind:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// leaks are what goes on of this module although all tests are over. What is ending just now has a moment for it.
func leaks() string {
	var left []string
	for until := time.Now().Add(5 * time.Second); ; {
		left = goroutines()
		if len(left) == 0 || time.Now().After(until) {
			return strings.Join(left, "\n\n")
		}
		runtime.Gosched()
	}
}

func goroutines() []string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var found []string
	for _, stack := range strings.Split(string(stacks), "\n\n") {
		if strings.Contains(stack, "client-sdks/go") && !strings.Contains(stack, "internal/sidecar.Main") {
			found = append(found, stack)
		}
	}
	return found
}
