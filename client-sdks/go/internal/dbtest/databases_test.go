package dbtest

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

// databases are all that a test is run with: a name, and how to open one.
var databases = map[string]func(*testing.T) *sql.DB{"sqlite": sqlite, "postgres": postgres}

func open(t *testing.T, driver, source string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func sqlite(t *testing.T) *sql.DB {
	db := open(t, "sqlite", ":memory:")
	// Each connection would have a database of its own.
	db.SetMaxOpenConns(1)
	return db
}

// postgres is a server of the test's own, on a Unix socket.
func postgres(t *testing.T) *sql.DB {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		t.Fatal("there is no PostgreSQL: apt-get install postgresql")
	}
	binaries := filepath.Dir(found[len(found)-1])
	directory, err := os.MkdirTemp("", "lunasec-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	owner := unprivileged(t, directory)
	data := filepath.Join(directory, "data")
	run := func(name string, arguments ...string) *exec.Cmd {
		command := exec.Command(filepath.Join(binaries, name), arguments...)
		command.SysProcAttr = &syscall.SysProcAttr{Credential: owner}
		command.Dir = directory
		return command
	}
	if out, err := run("initdb", "-D", data, "-U", "test", "-A", "trust", "--no-sync").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	start := run("pg_ctl", "-D", data, "-w", "-l", filepath.Join(directory, "log"), "-o", "-c listen_addresses='' -c fsync=off -k "+directory, "start")
	if err := start.Run(); err != nil {
		log, _ := os.ReadFile(filepath.Join(directory, "log"))
		t.Fatalf("pg_ctl: %v\n%s", err, log)
	}
	t.Cleanup(func() {
		if err := run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop").Run(); err != nil {
			t.Error(err)
		}
	})
	return open(t, "pgx", fmt.Sprintf("host=%s user=test dbname=postgres", directory))
}

// unprivileged is who runs the server, which refuses root.
func unprivileged(t *testing.T, directory string) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(nobody.Uid)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.Atoi(nobody.Gid)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(directory, uid, gid); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// execute a statement, whose placeholders are $1 in both.
func execute(t *testing.T, db *sql.DB, query string, arguments ...any) error {
	t.Helper()
	_, err := db.ExecContext(context.Background(), query, arguments...)
	return err
}

func dump(t *testing.T, db *sql.DB) string {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), "select name, coalesce(card, '') from customers order by id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all strings.Builder
	for rows.Next() {
		var name, card string
		if err := rows.Scan(&name, &card); err != nil {
			t.Fatal(err)
		}
		all.WriteString(name + " " + card + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all.String()
}
