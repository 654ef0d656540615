package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/internal/sidecar"
)

func TestMain(m *testing.M) { sidecar.Main(m) }

const schema = "create table customers (id integer primary key, name text not null, card text)"

// customer is a row, as an application has it.
type customer struct {
	id         int
	name, card lunasec.Column
}

func columns(c *customer) []*lunasec.Column { return []*lunasec.Column{&c.name, &c.card} }

func each(t *testing.T, test func(t *testing.T, db *sql.DB)) {
	for name, open := range databases {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			if err := execute(t, db, schema); err != nil {
				t.Fatal(err)
			}
			test(t, db)
		})
	}
}

func clientOf(t *testing.T, sidecar *sidecar.Sidecar) *lunasec.Client {
	t.Helper()
	client, err := lunasec.New(lunasec.Socket(sidecar.Socket), lunasec.RestartGrace(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func tokenOf(t *testing.T, client *lunasec.Client, value string) lunasec.Token {
	t.Helper()
	tokenized, err := client.Tokenize(context.Background(), lunasec.Text(value))
	if err != nil {
		t.Fatal(err)
	}
	return tokenized.Token
}

func all(t *testing.T, db *sql.DB) []customer {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), "select id, name, card from customers order by id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var found []customer
	for rows.Next() {
		var each customer
		if err := rows.Scan(&each.id, &each.name, &each.card); err != nil {
			t.Fatal(err)
		}
		found = append(found, each)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestAResultSetIsRevealedInAFewRequests(t *testing.T) {
	client := clientOf(t, sidecar.Start(t))
	each(t, func(t *testing.T, db *sql.DB) {
		card := tokenOf(t, client, "4111 1111")
		for id := range 30 {
			name := lunasec.ColumnOf(tokenOf(t, client, fmt.Sprint("customer ", id)))
			own := lunasec.NullToken{Token: card, Valid: id%3 != 0}
			if err := execute(t, db, "insert into customers values ($1, $2, $3)", id, name, own); err != nil {
				t.Fatal(err)
			}
		}
		if stored := dump(t, db); strings.Contains(stored, "customer") || strings.Contains(stored, "4111") || !strings.Contains(stored, card.Expose()) {
			t.Fatalf("the database holds what it must not:\n%s", stored)
		}
		found := all(t, db)
		if _, err := found[0].name.Text(); !errors.Is(err, lunasec.ErrNotRevealed) {
			t.Errorf("before it is revealed: %v", err)
		}
		if err := lunasec.RevealAll(context.Background(), client, found, columns); err != nil {
			t.Fatal(err)
		}
		for id, row := range found {
			wanted := "4111 1111"
			if id%3 == 0 {
				wanted = ""
			}
			name, err := row.name.Text()
			if err != nil || name != fmt.Sprint("customer ", id) {
				t.Errorf("%d: %q, %v", id, name, err)
			}
			if text, err := row.card.Text(); err != nil || text != wanted || row.card.Valid == (wanted == "") {
				t.Errorf("%d: %q, %v", id, text, err)
			}
		}
		if printed := fmt.Sprintf("%v %+v %#v", found, found, found); strings.Contains(printed, "4111 1111") || strings.Contains(printed, card.Expose()) {
			t.Error("a row shows what it holds")
		}
	})
}

func TestWhatIsNoTokenIsNeitherStoredNorRead(t *testing.T) {
	each(t, func(t *testing.T, db *sql.DB) {
		for name, wrong := range map[string]any{
			"a plaintext":     lunasec.Text("4111"),
			"the zero token":  lunasec.Token{},
			"text":            lunasec.TokenOf("4111"),
			"a print":         lunasec.TokenOf(fmt.Sprint(lunasec.TokenOf("x"))),
			"a column of one": lunasec.ColumnOf(lunasec.TokenOf("4111")),
		} {
			if err := execute(t, db, "insert into customers values (1, $1, null)", wrong); err == nil || strings.Contains(err.Error(), "4111") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := execute(t, db, "insert into customers values (1, '4111 1111', null)"); err != nil {
			t.Fatal(err)
		}
		var token lunasec.Token
		err := db.QueryRowContext(context.Background(), "select name from customers").Scan(&token)
		if !errors.Is(err, lunasec.ErrInvalidToken) || strings.Contains(err.Error(), "4111") {
			t.Errorf("a value in the clear: %v", err)
		}
		err = db.QueryRowContext(context.Background(), "select card from customers").Scan(&token)
		if !errors.Is(err, lunasec.ErrInvalidToken) {
			t.Errorf("NULL: %v", err)
		}
		var null lunasec.NullToken
		if err := db.QueryRowContext(context.Background(), "select card from customers").Scan(&null); err != nil || null.Valid {
			t.Errorf("%+v, %v", null, err)
		}
		if err := db.QueryRowContext(context.Background(), "select id from customers").Scan(&token); !errors.Is(err, lunasec.ErrInvalidToken) {
			t.Errorf("a number: %v", err)
		}
	})
}

func TestColumnsOfAnOutageAreMaskedAndThoseThatAreGoneSaySo(t *testing.T) {
	sidecar := sidecar.Start(t)
	client := clientOf(t, sidecar)
	db := sqlite(t)
	if err := execute(t, db, schema); err != nil {
		t.Fatal(err)
	}
	gone := tokenOf(t, client, "gone")
	for id, token := range []lunasec.Token{tokenOf(t, client, "stays"), gone} {
		if err := execute(t, db, "insert into customers values ($1, $2, null)", id, token); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Delete(context.Background(), []lunasec.Token{gone}); err != nil {
		t.Fatal(err)
	}
	found := all(t, db)
	if err := lunasec.RevealAll(context.Background(), client.Masked(), found, columns); err != nil {
		t.Fatal(err)
	}
	if text, err := found[0].name.Text(); err != nil || text != "stays" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := found[1].name.Text(); !errors.Is(err, lunasec.ErrNotFound) {
		t.Errorf("%v", err)
	}
	sidecar.Kill()
	found = all(t, db)
	if err := lunasec.RevealAll(context.Background(), client, found, columns); !errors.Is(err, lunasec.ErrSidecarUnreachable) {
		t.Errorf("%v", err)
	}
	if _, err := found[0].name.Text(); !errors.Is(err, lunasec.ErrNotRevealed) {
		t.Errorf("%v", err)
	}
	if err := lunasec.RevealAll(context.Background(), client.MaskedWith("n/a"), found, columns); err != nil {
		t.Fatal(err)
	}
	for _, row := range found {
		if text, err := row.name.Text(); err != nil || text != "n/a" {
			t.Errorf("%q, %v", text, err)
		}
	}
}

func TestMoreThanABatchIsRevealed(t *testing.T) {
	client := clientOf(t, sidecar.Start(t))
	items := make([]lunasec.TokenizeItem, 1_000)
	var rows []customer
	for batch := range 3 {
		for i := range items {
			items[i].Value = lunasec.Text(fmt.Sprint(batch*1_000 + i))
		}
		outcomes, err := client.TokenizeBatch(context.Background(), items)
		if err != nil {
			t.Fatal(err)
		}
		for _, outcome := range outcomes {
			rows = append(rows, customer{name: lunasec.ColumnOf(outcome.Value.Token)})
		}
	}
	if err := lunasec.RevealAll(context.Background(), client, rows, columns); err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		if text, err := row.name.Text(); err != nil || text != fmt.Sprint(i) {
			t.Fatalf("%d: %q, %v", i, text, err)
		}
	}
	if err := lunasec.RevealAll(context.Background(), client, []customer{}, columns); err != nil {
		t.Errorf("of none: %v", err)
	}
}
