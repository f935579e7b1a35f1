// pgx, unchanged: its statement cache, batches, pipelines, CopyFrom, cancel by context, pgxpool.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	. "poolguard.test/interop/report"
)

var admin = NewAdmin(context.Background())

func connect(ctx context.Context, url string) *pgx.Conn { return Got(pgx.Connect(ctx, url)) }

func exec(ctx context.Context, client interface {
	Query(context.Context, string, ...any) (pgx.Rows, error)
}, statement string, arguments ...any) error {
	rows, err := client.Query(ctx, statement, arguments...)
	if err != nil {
		return err
	}
	rows.Close()
	return rows.Err()
}

func number(ctx context.Context, client interface {
	QueryRow(context.Context, string, ...any) pgx.Row
}, statement string, arguments ...any) (value int) {
	Must(client.QueryRow(ctx, statement, arguments...).Scan(&value), statement)
	return value
}

func transactions(ctx context.Context) {
	client := connect(ctx, Target)
	defer client.Close(ctx)
	Must(pgx.BeginFunc(ctx, client, func(tx pgx.Tx) error {
		Must(exec(ctx, tx, "INSERT INTO notes (mark) VALUES ($1)", "kept"), "insert")
		nested := pgx.BeginFunc(ctx, tx, func(inner pgx.Tx) error {
			Must(exec(ctx, inner, "INSERT INTO notes (mark) VALUES ('undone')"), "insert")
			return exec(ctx, inner, "SELECT 1/0")
		})
		Fails(nested, "division", "22012")
		return exec(ctx, tx, "INSERT INTO notes (mark) VALUES ($1)", "kept")
	}), "commit")
	tx := Got(client.Begin(ctx))
	Must(exec(ctx, tx, "INSERT INTO notes (mark) VALUES ('undone')"), "insert")
	Fails(exec(ctx, tx, "SELECT 1/0"), "division", "22012")
	Fails(exec(ctx, tx, "SELECT 1"), "aborted", "25P02")
	if err := tx.Commit(ctx); !errors.Is(err, pgx.ErrTxCommitRollback) {
		panic(fmt.Sprintf("commit of a failed transaction: %v", err))
	}
	tx = Got(client.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable, AccessMode: pgx.ReadOnly}))
	var level string
	Must(tx.QueryRow(ctx, "SHOW transaction_isolation").Scan(&level), "show")
	Same(level, "serializable", "isolation")
	Fails(exec(ctx, tx, "INSERT INTO notes (mark) VALUES ('undone')"), "read only", "25006")
	Must(tx.Rollback(ctx), "rollback")
	Same([]int{admin.Marks(ctx, "kept"), admin.Marks(ctx, "undone")}, []int{2, 0}, "notes")
}

func prepared(ctx context.Context) {
	modes := []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec,
		pgx.QueryExecModeSimpleProtocol,
	}
	for _, mode := range modes {
		var clients []*pgx.Conn
		for _, capacity := range []int{5, 500} {
			config := Got(pgx.ParseConfig(Target))
			config.DefaultQueryExecMode = mode
			config.StatementCacheCapacity, config.DescriptionCacheCapacity = capacity, capacity
			clients = append(clients, Got(pgx.ConnectConfig(ctx, config)))
		}
		for range 2 {
			for n := range Many {
				for offset, client := range clients {
					Same(number(ctx, client, fmt.Sprintf("SELECT $1::int + %d", n+offset), n), 2*n+offset, mode.String())
				}
			}
		}
		for _, client := range clients {
			Must(client.Close(ctx), "close")
		}
	}
	client := connect(ctx, Target)
	defer client.Close(ctx)
	Got(client.Prepare(ctx, "mine", "SELECT $1::int * 2"))
	Same(number(ctx, client, "mine", 21), 42, "by name")
	Must(client.Deallocate(ctx, "mine"), "deallocate")
	Must(client.DeallocateAll(ctx), "deallocate all")
	Same(number(ctx, client, "SELECT $1::int", 7), 7, "after deallocate all")
}

func copyBothWays(ctx context.Context) {
	client := connect(ctx, Target)
	defer client.Close(ctx)
	source := pgx.CopyFromSlice(Rows, func(n int) ([]any, error) { return []any{"copied", n}, nil })
	Same(Got(client.CopyFrom(ctx, pgx.Identifier{"notes"}, []string{"mark", "number"}, source)), int64(Rows), "copied")
	var out bytes.Buffer
	Got(client.PgConn().CopyTo(ctx, &out, "COPY (SELECT number FROM notes WHERE mark = 'copied' ORDER BY 1) TO STDOUT"))
	lines := strings.Fields(out.String())
	Same(len(lines), Rows, "lines")
	for n, line := range lines {
		Same(line, fmt.Sprint(n), "line")
	}
	_, err := client.PgConn().CopyFrom(ctx, strings.NewReader("bad\t1\nbad\tx\n"), "COPY notes (mark, number) FROM STDIN")
	Fails(err, "a bad row", "22P02")
	broken := pgx.CopyFromFunc(func() ([]any, error) { return nil, errors.New("the source has failed") })
	_, err = client.CopyFrom(ctx, pgx.Identifier{"notes"}, []string{"mark"}, broken)
	Fails(err, "a failed source")
	Same(number(ctx, client, "SELECT 1"), 1, "afterwards")
	Same(admin.Marks(ctx, "bad"), 0, "bad")
}

// A context that ends closes the connection, pgx sends a cancel, and nothing runs on; the pool makes another connection.
func cancel(ctx context.Context) {
	pool := Got(pgxpool.New(ctx, Target+"?pool_max_conns=1"))
	defer pool.Close()
	inner, stop := context.WithCancel(ctx)
	go func() {
		admin.WaitUntilItSleeps(ctx)
		stop()
	}()
	err := exec(inner, pool, "SELECT pg_sleep(60)")
	if !errors.Is(err, context.Canceled) {
		panic(fmt.Sprintf("not cancelled: %v", err))
	}
	Same(number(ctx, pool, "SELECT 1"), 1, "afterwards")
	admin.NothingSleeps(ctx)
	client := connect(ctx, Target)
	defer client.Close(ctx)
	go func() {
		other := NewAdmin(ctx)
		other.WaitUntilItSleeps(ctx)
		Must(client.PgConn().CancelRequest(ctx), "cancel")
	}()
	Fails(exec(ctx, client, "SELECT pg_sleep(60)"), "cancelled", "57014")
	Same(number(ctx, client, "SELECT 1"), 1, "afterwards")
}

func pipeline(ctx context.Context) {
	client := connect(ctx, Target)
	defer client.Close(ctx)
	batch := &pgx.Batch{}
	for n := range 500 {
		batch.Queue("SELECT $1::int + 1", n)
	}
	results := client.SendBatch(ctx, batch)
	for n := range 500 {
		var value int
		Must(results.QueryRow().Scan(&value), "batch")
		Same(value, n+1, "batch")
	}
	Must(results.Close(), "close")
	batch = &pgx.Batch{}
	for _, divisor := range []int{1, 0, 1} {
		batch.Queue("INSERT INTO notes (mark, number) VALUES ('piped', 10 / $1)", divisor)
	}
	results = client.SendBatch(ctx, batch)
	Got(results.Exec())
	_, err := results.Exec()
	Fails(err, "division", "22012")
	_, err = results.Exec()
	Fails(err, "behind the error")
	Fails(results.Close(), "close")
	Same(admin.Marks(ctx, "piped"), 0, "piped")
	pipe := client.PgConn().StartPipeline(ctx)
	for range 20 {
		pipe.SendQueryParams("SELECT 1/0", nil, nil, nil, nil)
		pipe.SendQueryParams("INSERT INTO notes (mark) VALUES ('piped')", nil, nil, nil, nil)
		Must(pipe.Sync(), "sync")
		pipe.SendQueryParams("INSERT INTO notes (mark) VALUES ('behind')", nil, nil, nil, nil)
		Must(pipe.Sync(), "sync")
	}
	failures := 0
	for {
		found, err := pipe.GetResults()
		if found == nil && err == nil {
			break
		}
		if reader, is := found.(*pgconn.ResultReader); is {
			_, err = reader.Close()
		}
		if err != nil {
			failures++
			Fails(err, "division", "22012")
		}
	}
	Must(pipe.Close(), "close")
	Same(failures, 20, "failures")
	Same([]int{admin.Marks(ctx, "piped"), admin.Marks(ctx, "behind")}, []int{0, 20}, "notes")
	Same(number(ctx, client, "SELECT 1"), 1, "afterwards")
}

func listen(ctx context.Context) {
	client, other := connect(ctx, Target), connect(ctx, Target)
	defer client.Close(ctx)
	defer other.Close(ctx)
	Must(exec(ctx, client, "LISTEN news"), "listen")
	for n := range 3 {
		Must(exec(ctx, other, "SELECT pg_notify('news', $1)", fmt.Sprint(n)), "notify")
	}
	for n := range 3 {
		Same(Got(client.WaitForNotification(ctx)).Payload, fmt.Sprint(n), "payload")
	}
	Must(exec(ctx, client, "NOTIFY news, 'own'"), "notify")
	Same(Got(client.WaitForNotification(ctx)).Payload, "own", "payload")
	Must(exec(ctx, client, "UNLISTEN news"), "unlisten")
}

func large(ctx context.Context) {
	client := connect(ctx, Target)
	defer client.Close(ctx)
	value := bytes.Repeat([]byte("\x00\x01Z\x00\x00\x00\x05I"), Large/8)
	var got []byte
	Must(client.QueryRow(ctx, "SELECT $1::bytea", value).Scan(&got), "large")
	Same(bytes.Equal(got, value), true, "large")
	rows := Got(client.Query(ctx, "SELECT n, repeat('x', 100) FROM generate_series(1, $1::int) n", Rows))
	count := 0
	for rows.Next() {
		count++
	}
	Must(rows.Err(), "rows")
	Same(count, Rows, "rows")
}

func reconnect(ctx context.Context) {
	pool := Got(pgxpool.New(ctx, Target+"?pool_max_conns=2"))
	defer pool.Close()
	tx := Got(pool.Begin(ctx))
	admin.Kill(ctx, number(ctx, tx, "SELECT pg_backend_pid()"))
	Fails(exec(ctx, tx, "SELECT 1"), "killed")
	_ = tx.Rollback(ctx)
	Same(number(ctx, pool, "SELECT 1"), 1, "afterwards")
}

func crowd(ctx context.Context) {
	pool := Got(pgxpool.New(ctx, Target+"?pool_max_conns=12"))
	defer pool.Close()
	failures := make(chan error, 24)
	var all sync.WaitGroup
	for mark := range 24 {
		all.Go(func() {
			for n := range 20 {
				err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
					var one, two string
					expected := fmt.Sprintf("%d/%d", mark, n)
					err := tx.QueryRow(ctx, "SELECT $1::text, repeat($2::text, 500)", expected, fmt.Sprint(mark)).Scan(&one, &two)
					if err == nil && (one != expected || two != strings.Repeat(fmt.Sprint(mark), 500)) {
						err = fmt.Errorf("got %q, expected %q", one, expected)
					}
					return err
				})
				if err != nil {
					failures <- err
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
	pool := Got(pgxpool.New(ctx, Leaky+"?pool_max_conns=1"))
	defer pool.Close()
	tx := Got(pool.Begin(ctx))
	Must(exec(ctx, tx, Leak), "leak")
	admin.WaitUntilRolledBack(ctx)
	Fails(exec(ctx, tx, "INSERT INTO notes (mark) VALUES ($1)", "rest"), "first", "25P03")
	Fails(exec(ctx, tx, "INSERT INTO notes (mark) VALUES ($1)", "rest"), "second", "25P02")
	Must(tx.Rollback(ctx), "rollback")
	Same(number(ctx, pool, "SELECT 1"), 1, "afterwards")
	Same(pool.Stat().NewConnsCount(), int64(1), "the same connection")
	Same([]int{admin.Marks(ctx, "leaked"), admin.Marks(ctx, "rest")}, []int{0, 0}, "notes")
}

func leakedThenCommit(ctx context.Context) {
	pool := Got(pgxpool.New(ctx, Leaky+"?pool_max_conns=1"))
	defer pool.Close()
	tx := Got(pool.Begin(ctx))
	Must(exec(ctx, tx, Leak), "leak")
	admin.WaitUntilRolledBack(ctx)
	Fails(tx.Commit(ctx), "commit", "25P03")
	Same(number(ctx, pool, "SELECT 1"), 1, "afterwards")
	Same(admin.Marks(ctx, "leaked"), 0, "leaked")
}

// The rest of the transaction comes as a batch and as a CopyFrom.
func leakedInBlock(ctx context.Context) {
	pool := Got(pgxpool.New(ctx, Leaky+"?pool_max_conns=1"))
	defer pool.Close()
	Fails(pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		Must(exec(ctx, tx, Leak), "leak")
		admin.WaitUntilRolledBack(ctx)
		batch := &pgx.Batch{}
		for range 5 {
			batch.Queue("INSERT INTO notes (mark) VALUES ('rest')")
		}
		return tx.SendBatch(ctx, batch).Close()
	}), "batch", "25P03")
	Fails(pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		Must(exec(ctx, tx, Leak), "leak")
		admin.WaitUntilRolledBack(ctx)
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"notes"}, []string{"mark"}, pgx.CopyFromRows([][]any{{"rest"}}))
		return err
	}), "copy", "25P03")
	Must(exec(ctx, pool, "INSERT INTO notes (mark) VALUES ('after')"), "after")
	Same([]int{admin.Marks(ctx, "leaked"), admin.Marks(ctx, "rest"), admin.Marks(ctx, "after")}, []int{0, 0, 1}, "notes")
}

func main() {
	Main(
		Named("transactions", transactions),
		Named("prepared", prepared),
		Named("copy", copyBothWays),
		Named("cancel", cancel),
		Named("pipeline", pipeline),
		Named("listen", listen),
		Named("large", large),
		Named("reconnect", reconnect),
		Named("crowd", crowd),
		Named("leaked_then_statement", leakedThenStatement),
		Named("leaked_then_commit", leakedThenCommit),
		Named("leaked_in_block", leakedInBlock),
	)
}
