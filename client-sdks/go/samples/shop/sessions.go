package main

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"sync"

	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/lunasechttp"
)

// sessions are who is signed in: a cookie that nobody can guess. A real shop has its own.
type sessions struct {
	mutex sync.Mutex
	// known, and whether it is of the support desk.
	known map[string]bool
	// password of the support desk; nobody gets in where it is empty.
	password string
}

func (s *sessions) signIn(w http.ResponseWriter, _ *http.Request) { s.begin(w, false) }

func (s *sessions) signInDesk(w http.ResponseWriter, r *http.Request) {
	given := []byte(r.PostFormValue("password"))
	if s.password == "" || subtle.ConstantTimeCompare(given, []byte(s.password)) != 1 {
		http.Error(w, "this is not the password", http.StatusForbidden)
		return
	}
	s.begin(w, true)
}

func (s *sessions) begin(w http.ResponseWriter, desk bool) {
	var bytes [16]byte
	if _, err := rand.Read(bytes[:]); err != nil {
		http.Error(w, "try again", http.StatusInternalServerError)
		return
	}
	id := hex.EncodeToString(bytes[:])
	s.mutex.Lock()
	s.known[id] = desk
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
	if _, ok := s.known[cookie.Value]; !ok {
		return ""
	}
	return cookie.Value
}

func (s *sessions) isDesk(id string) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.known[id]
}

func (s *sessions) end(id string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.known, id)
}

func (s *sessions) who(r *http.Request) (lunasechttp.Who, error) {
	return lunasechttp.Who{Session: s.of(r)}, nil
}
