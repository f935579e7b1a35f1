// lib/pq with database/sql: its pool, prepared statements that follow a connection, CopyIn, cancel by context, its Listener.
package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/lib/pq"
	. "poolguard.test/interop/report"
)

var admin = NewAdmin(context.Background())

func open(url string, connections int) *sql.DB {
	pool := Got(sql.Open("postgres", url+"?sslmode=disable"))
	pool.SetMaxOpenConns(connections)
	return pool
}

type queryer interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
	QueryRowContext(context.Context, string, ...any) *sql.Row
}

func exec(ctx context.Context, client queryer, statement string, arguments ...any) error {
	_, err := client.ExecContext(ctx, statement, arguments...)
	return err
}

func number(ctx context.Context, client queryer, statement string, arguments ...any) (value int) {
	Must(client.QueryRowContext(ctx, statement, arguments...).Scan(&value), statement)
	return value
}

func transactions(ctx context.Context) {
	pool := open(Target, 2)
	defer pool.Close()
	tx := Got(pool.BeginTx(ctx, nil))
	Must(exec(ctx, tx, "INSERT INTO notes (mark) VALUES ($1)", "kept"), "insert")
	Must(exec(ctx, tx, "SAVEPOINT here"), "savepoint")
	Fails(exec(ctx, tx, "SELECT 1/0"), "division", "22012")
	Must(exec(ctx, tx, "ROLLBACK TO SAVEPOINT here"), "rollback to")
	Must(exec(ctx, tx, "INSERT INTO notes (mark) VALUES ('kept')"), "insert")
	Must(tx.Commit(), "commit")
	tx = Got(pool.BeginTx(ctx, nil))
	Must(exec(ctx, tx, "INSERT INTO notes (mark) VALUES ('undone')"), "insert")
	Fails(exec(ctx, tx, "SELECT 1/0"), "division", "22012")
	Fails(exec(ctx, tx, "SELECT 1"), "aborted", "25P02")
	Fails(tx.Commit(), "commit of a failed transaction")
	tx = Got(pool.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable, ReadOnly: true}))
	var level string
	Must(tx.QueryRowContext(ctx, "SHOW transaction_isolation").Scan(&level), "show")
	Same(level, "serializable", "isolation")
	Fails(exec(ctx, tx, "INSERT INTO notes (mark) VALUES ('undone')"), "read only", "25006")
	Must(tx.Rollback(), "rollback")
	Same([]int{admin.Marks(ctx, "kept"), admin.Marks(ctx, "undone")}, []int{2, 0}, "notes")
}

func prepared(ctx context.Context) {
	pool := open(Target, 3)
	defer pool.Close()
	var statements []*sql.Stmt
	for n := range Many {
		statements = append(statements, Got(pool.PrepareContext(ctx, fmt.Sprintf("SELECT $1::int + %d", n))))
	}
	for range 2 {
		var all sync.WaitGroup
		failures := make(chan error, 4*Many)
		for n, statement := range statements {
			all.Go(func() {
				var value int
				err := statement.QueryRowContext(ctx, n).Scan(&value)
				if err == nil && value != 2*n {
					err = fmt.Errorf("got %d, expected %d", value, 2*n)
				}
				failures <- err
			})
		}
		all.Wait()
		close(failures)
		for err := range failures {
			Must(err, "prepared")
		}
	}
	tx := Got(pool.BeginTx(ctx, nil))
	var value int
	Must(tx.StmtContext(ctx, statements[1]).QueryRowContext(ctx, 1).Scan(&value), "in a transaction")
	Same(value, 2, "in a transaction")
	Must(tx.Commit(), "commit")
	for _, statement := range statements {
		Must(statement.Close(), "close")
	}
}

func copyIn(ctx context.Context) {
	pool := open(Target, 1)
	defer pool.Close()
	tx := Got(pool.BeginTx(ctx, nil))
	into := Got(tx.PrepareContext(ctx, "COPY notes (mark, number) FROM STDIN"))
	for n := range Rows {
		Got(into.ExecContext(ctx, "copied", n))
	}
	Got(into.ExecContext(ctx))
	Must(into.Close(), "close")
	Must(tx.Commit(), "commit")
	Same(admin.Marks(ctx, "copied"), Rows, "copied")
	tx = Got(pool.BeginTx(ctx, nil))
	into = Got(tx.PrepareContext(ctx, "COPY notes (mark, number) FROM STDIN"))
	Got(into.ExecContext(ctx, "bad", "x"))
	_, err := into.ExecContext(ctx)
	Fails(err, "a bad row", "22P02")
	_ = into.Close()
	Must(tx.Rollback(), "rollback")
	Same(number(ctx, pool, "SELECT 1"), 1, "afterwards")
	Same(admin.Marks(ctx, "bad"), 0, "bad")
}

func cancel(ctx context.Context) {
	pool := open(Target, 1)
	defer pool.Close()
	inner, stop := context.WithCancel(ctx)
	go func() {
		admin.WaitUntilItSleeps(ctx)
		stop()
	}()
	err := exec(inner, pool, "SELECT pg_sleep(60)")
	if !errors.Is(err, context.Canceled) {
		Fails(err, "cancelled", "57014")
	}
	Same(number(ctx, pool, "SELECT 1"), 1, "afterwards")
	admin.NothingSleeps(ctx)
}

func listen(ctx context.Context) {
	pool := open(Target, 1)
	defer pool.Close()
	listener := pq.NewListener(Target+"?sslmode=disable", time.Second, time.Minute, nil)
	Must(listener.Listen("news"), "listen")
	for n := range 3 {
		Must(exec(ctx, pool, "SELECT pg_notify('news', $1)", fmt.Sprint(n)), "notify")
	}
	for n := range 3 {
		select {
		case told := <-listener.Notify:
			Same(told.Extra, fmt.Sprint(n), "payload")
		case <-ctx.Done():
			panic("nothing came")
		}
	}
	Must(listener.Ping(), "ping")
	Must(listener.Unlisten("news"), "unlisten")
	Must(listener.Close(), "close")
}

func large(ctx context.Context) {
	pool := open(Target, 1)
	defer pool.Close()
	value := bytes.Repeat([]byte("\x00\x01Z\x00\x00\x00\x05I"), Large/8)
	var got []byte
	Must(pool.QueryRowContext(ctx, "SELECT $1::bytea", value).Scan(&got), "large")
	Same(bytes.Equal(got, value), true, "large")
	rows := Got(pool.QueryContext(ctx, "SELECT n, repeat('x', 100) FROM generate_series(1, $1::int) n", Rows))
	count := 0
	for rows.Next() {
		count++
	}
	Must(rows.Err(), "rows")
	Same(count, Rows, "rows")
}

// database/sql replaces a connection that turned bad; whoever was in a transaction is told.
func reconnect(ctx context.Context) {
	pool := open(Target, 1)
	defer pool.Close()
	tx := Got(pool.BeginTx(ctx, nil))
	admin.Kill(ctx, number(ctx, tx, "SELECT pg_backend_pid()"))
	Fails(exec(ctx, tx, "SELECT 1"), "killed")
	_ = tx.Rollback()
	Same(number(ctx, pool, "SELECT 1"), 1, "afterwards")
}

func crowd(ctx context.Context) {
	pool := open(Target, 12)
	defer pool.Close()
	failures := make(chan error, 24)
	var all sync.WaitGroup
	for mark := range 24 {
		all.Go(func() {
			for n := range 20 {
				var one, two string
				expected := fmt.Sprintf("%d/%d", mark, n)
				row := pool.QueryRowContext(ctx, "SELECT $1::text, repeat($2::text, 500)", expected, fmt.Sprint(mark))
				if err := row.Scan(&one, &two); err != nil {
					failures <- err
					return
				}
				if one != expected || two != strings.Repeat(fmt.Sprint(mark), 500) {
					failures <- fmt.Errorf("got %q, expected %q", one, expected)
					return
				}
			}
		})
	}
	all.Wait()
	close(failures)
	for err := range failures {
		Must(err, "crowd")
	}
}

func leakedThenStatement(ctx context.Context) {
	pool := open(Leaky, 1)
	defer pool.Close()
	tx := Got(pool.BeginTx(ctx, nil))
	Must(exec(ctx, tx, Leak), "leak")
	admin.WaitUntilRolledBack(ctx)
	Fails(exec(ctx, tx, "INSERT INTO notes (mark) VALUES ($1)", "rest"), "first", "25P03")
	Fails(exec(ctx, tx, "INSERT INTO notes (mark) VALUES ($1)", "rest"), "second", "25P02")
	Must(tx.Rollback(), "rollback")
	Same(number(ctx, pool, "SELECT 1"), 1, "afterwards")
	Same([]int{admin.Marks(ctx, "leaked"), admin.Marks(ctx, "rest")}, []int{0, 0}, "notes")
}

func leakedThenCommit(ctx context.Context) {
	pool := open(Leaky, 1)
	defer pool.Close()
	tx := Got(pool.BeginTx(ctx, nil))
	Must(exec(ctx, tx, Leak), "leak")
	admin.WaitUntilRolledBack(ctx)
	Fails(tx.Commit(), "commit", "25P03")
	Same(number(ctx, pool, "SELECT 1"), 1, "afterwards")
	Same(admin.Marks(ctx, "leaked"), 0, "leaked")
}

// Also when the code looks at no error until its COMMIT: that is one.
func leakedInBlock(ctx context.Context) {
	pool := open(Leaky, 1)
	defer pool.Close()
	tx := Got(pool.BeginTx(ctx, nil))
	Must(exec(ctx, tx, Leak), "leak")
	admin.WaitUntilRolledBack(ctx)
	for range 3 {
		_ = exec(ctx, tx, "INSERT INTO notes (mark) VALUES ($1)", "rest")
	}
	Fails(tx.Commit(), "commit")
	Must(exec(ctx, pool, "INSERT INTO notes (mark) VALUES ('after')"), "after")
	Same([]int{admin.Marks(ctx, "leaked"), admin.Marks(ctx, "rest"), admin.Marks(ctx, "after")}, []int{0, 0, 1}, "notes")
}

func main() {
	Main(
		Named("transactions", transactions),
		Named("prepared", prepared),
		Named("copy", copyIn),
		Named("cancel", cancel),
		Named("listen", listen),
		Named("large", large),
		Named("reconnect", reconnect),
		Named("crowd", crowd),
		Named("leaked_then_statement", leakedThenStatement),
		Named("leaked_then_commit", leakedThenCommit),
		Named("leaked_in_block", leakedInBlock),
	)
}
