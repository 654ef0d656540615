package main

import (
	"context"
	"database/sql"

	_ "modernc.org/sqlite"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
)

// store is the database: names and cards are tokens, and the columns refuse anything else.
type store struct{ db *sql.DB }

type customer struct {
	ID         int64
	Name, Card lunasec.Column
}

const schema = `
create table if not exists customers (id integer primary key, user text unique not null, name text not null, card text);
create table if not exists orders (id integer primary key, user text not null, card text not null, item text not null)`

func openStore(ctx context.Context, path string) (*store, error) {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return nil, err
	}
	// SQLite has one writer.
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, schema); err != nil {
		_ = db.Close()
		return nil, err
	}
	return &store{db}, nil
}

func (s *store) close() error { return s.db.Close() }

func (s *store) save(ctx context.Context, user string, name lunasec.Token, card lunasec.NullToken) error {
	_, err := s.db.ExecContext(ctx, `insert into customers (user, name, card) values ($1, $2, $3)
		on conflict (user) do update set name = excluded.name, card = excluded.card`, user, name, card)
	return err
}

// of a user; sql.ErrNoRows where there is none.
func (s *store) of(ctx context.Context, user string) (customer, error) {
	var found customer
	row := s.db.QueryRowContext(ctx, "select id, name, card from customers where user = $1", user)
	return found, row.Scan(&found.ID, &found.Name, &found.Card)
}

func (s *store) all(ctx context.Context) ([]customer, error) {
	rows, err := s.db.QueryContext(ctx, "select id, name, card from customers order by id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []customer
	for rows.Next() {
		var each customer
		if err := rows.Scan(&each.ID, &each.Name, &each.Card); err != nil {
			return nil, err
		}
		all = append(all, each)
	}
	return all, rows.Err()
}

func (s *store) order(ctx context.Context, user string, card lunasec.Token, item string) error {
	_, err := s.db.ExecContext(ctx, "insert into orders (user, card, item) values ($1, $2, $3)", user, card, item)
	return err
}
