package main

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"sync"

	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/lunasechttp"
)

// sessions are who is signed in: a cookie that nobody can guess. A real shop has its own.
type sessions struct {
	mutex sync.Mutex
	known map[string]bool
}

func (s *sessions) signIn(w http.ResponseWriter, _ *http.Request) {
	var bytes [16]byte
	if _, err := rand.Read(bytes[:]); err != nil {
		http.Error(w, "try again", http.StatusInternalServerError)
		return
	}
	id := hex.EncodeToString(bytes[:])
	s.mutex.Lock()
	s.known[id] = true
	s.mutex.Unlock()
	http.SetCookie(w, &http.Cookie{Name: "session", Value: id, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

// of a request; empty where nobody is signed in.
func (s *sessions) of(r *http.Request) string {
	cookie, err := r.Cookie("session")
	if err != nil {
		return ""
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if !s.known[cookie.Value] {
		return ""
	}
	return cookie.Value
}

func (s *sessions) end(id string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.known, id)
}

func (s *sessions) who(r *http.Request) (lunasechttp.Who, error) {
	return lunasechttp.Who{Session: s.of(r)}, nil
}
