package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/lunasechttp"
)

type shop struct {
	client   *lunasec.Client
	store    *store
	sessions *sessions
}

func newShop(client *lunasec.Client, store *store, password string) *shop {
	return &shop{client, store, &sessions{known: map[string]bool{}, password: password}}
}

func (s *shop) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sign-in", s.sessions.signIn)
	mux.HandleFunc("POST /desk/sign-in", s.sessions.signInDesk)
	mux.Handle("POST /sign-out", lunasechttp.Handler(s.signOut))
	fields := lunasechttp.Fields{"name", "card?"}
	mux.Handle("POST /me", lunasechttp.Tokenize(fields, lunasechttp.KeepGranted())(lunasechttp.Handler(s.save)))
	// What goes out is granted, so that it may come in again; the name is shown.
	mine := lunasechttp.Grant(lunasechttp.Fields{"name", "card"})
	mux.Handle("GET /me", mine(lunasechttp.Reveal(lunasechttp.Fields{"name"})(lunasechttp.Handler(s.me))))
	paid := lunasechttp.Verify(lunasechttp.In{Body: lunasechttp.Fields{"card"}})
	mux.Handle("POST /orders", paid(lunasechttp.Handler(s.order)))
	mux.Handle("GET /customers", lunasechttp.Handler(s.list))
	bind := lunasechttp.Bind(s.client, s.sessions.who, lunasechttp.OnError(func(r *http.Request, err error) {
		slog.Warn("a request failed", "path", r.URL.Path, "error", err)
	}))
	return bind(mux)
}

func (s *shop) signOut(w http.ResponseWriter, r *http.Request) error {
	session, err := lunasechttp.From(r.Context()).Session()
	if err != nil {
		return err
	}
	if _, err := session.RevokeAll(r.Context()); err != nil {
		return err
	}
	s.sessions.end(s.sessions.of(r))
	return nil
}

// save gets tokens: the route saw to that.
func (s *shop) save(w http.ResponseWriter, r *http.Request) error {
	user := s.sessions.of(r)
	if user == "" {
		return lunasec.NewError("unauthenticated", "nobody is signed in", false)
	}
	var asked struct {
		Name lunasec.Token
		Card *lunasec.Token
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		return err
	}
	var card lunasec.NullToken
	if asked.Card != nil {
		card = lunasec.NullToken{Token: *asked.Card, Valid: true}
	}
	if err := s.store.save(r.Context(), user, asked.Name, card); err != nil {
		return err
	}
	w.WriteHeader(http.StatusCreated)
	return nil
}

type shown struct {
	Name lunasec.Exposed  `json:"name"`
	Card *lunasec.Exposed `json:"card"`
}

// me answers with tokens: the route reveals the name.
func (s *shop) me(w http.ResponseWriter, r *http.Request) error {
	found, err := s.store.of(r.Context(), s.sessions.of(r))
	if errors.Is(err, sql.ErrNoRows) {
		return lunasec.NewError("not_found", "there is no such customer", false)
	}
	if err != nil {
		return err
	}
	answer := shown{Name: lunasec.Exposed{Token: found.Name.Token}}
	if found.Card.Valid {
		answer.Card = &lunasec.Exposed{Token: found.Card.Token}
	}
	return answerJSON(w, answer)
}

// order is paid with a card that the session was granted: the route saw to that.
func (s *shop) order(w http.ResponseWriter, r *http.Request) error {
	var asked struct {
		Card lunasec.Token
		Item string
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		return err
	}
	if err := s.store.order(r.Context(), s.sessions.of(r), asked.Card, asked.Item); err != nil {
		return err
	}
	w.WriteHeader(http.StatusCreated)
	return nil
}

// list is what the support desk sees: the whole result set is one request of the sidecar, and loads while that is away.
func (s *shop) list(w http.ResponseWriter, r *http.Request) error {
	user := s.sessions.of(r)
	if user == "" {
		return lunasec.NewError("unauthenticated", "nobody is signed in", false)
	}
	if !s.sessions.isDesk(user) {
		return lunasec.NewError("forbidden", "this is for the support desk", false)
	}
	all, err := s.store.all(r.Context())
	if err != nil {
		return err
	}
	err = lunasec.RevealAll(r.Context(), s.client.Masked(), all, func(c *customer) []*lunasec.Column {
		return []*lunasec.Column{&c.Name}
	})
	if err != nil {
		return err
	}
	names := make([]string, len(all))
	for i, customer := range all {
		if names[i], err = customer.Name.Text(); errors.Is(err, lunasec.ErrGone) {
			names[i] = "(deleted)"
		} else if err != nil {
			return err
		}
	}
	return answerJSON(w, map[string]any{"names": names})
}

func answerJSON(w http.ResponseWriter, answer any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(answer)
}
