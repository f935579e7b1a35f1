// A service on River: its worker begins a transaction and forgets it (an early return without Rollback), LEAKS times, while
// another instance that has led so far is shut down. Who leads then?
//
// RIVER_URL is where River's client has its pool, APP_URL the worker's; if they are equal, it is one pool. INTEROP_ADMIN is
// PostgreSQL itself, and where the other, healthy instance is.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	. "poolguard.test/interop/report"
)

type syncArgs struct{}

func (syncArgs) Kind() string { return "sync_accounts" }

type syncWorker struct {
	river.WorkerDefaults[syncArgs]
}

func (*syncWorker) Work(context.Context, *river.Job[syncArgs]) error { return nil }

type facts map[string]any

func tell(event string, told facts) {
	told["event"] = event
	fmt.Println(string(Got(json.Marshal(told))))
}

var input = bufio.NewScanner(os.Stdin)

// Whoever plays us wants us to go on, or has gone.
func toldToGoOn() {
	if !input.Scan() {
		os.Exit(0)
	}
}

// failures passes on what River's elector logs as an error: the election that it could not hold.
type failures chan string

func (failures) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }
func (f failures) WithAttrs([]slog.Attr) slog.Handler             { return f }
func (f failures) WithGroup(string) slog.Handler                  { return f }
func (f failures) Handle(_ context.Context, record slog.Record) error {
	text := record.Message
	record.Attrs(func(attribute slog.Attr) bool {
		if attribute.Key == "err" {
			text += ": " + attribute.Value.String()
		}
		return true
	})
	if strings.Contains(record.Message, "Elector") {
		select {
		case f <- text:
		default:
		}
	}
	return nil
}

func start(ctx context.Context, id string, pool *pgxpool.Pool, logs slog.Handler) *river.Client[pgx.Tx] {
	workers := river.NewWorkers()
	river.AddWorker(workers, &syncWorker{})
	client := Got(river.NewClient(riverpgxv5.New(pool), &river.Config{
		ID:      id,
		Logger:  slog.New(logs),
		Queues:  map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 10}},
		Workers: workers,
	}))
	Must(client.Start(ctx), "start")
	return client
}

// The bug: a transaction of which nobody knows any more.
func forget(ctx context.Context, pool *pgxpool.Pool, account int) {
	tx := Got(pool.Begin(ctx))
	Got(tx.Exec(ctx, "UPDATE accounts SET synced = true WHERE id = $1 /*route='job%3Async_accounts'*/", account))
}

func slots(pool *pgxpool.Pool) facts {
	return facts{"taken": pool.Stat().AcquiredConns(), "most": pool.Stat().MaxConns()}
}

func main() {
	ctx := context.Background()
	leaks := Got(strconv.Atoi(os.Getenv("LEAKS")))
	app := Got(pgxpool.New(ctx, os.Getenv("APP_URL")))
	if os.Getenv("RIVER_URL") == "" {
		forget(ctx, app, leaks)
		tell("leaked", slots(app))
		toldToGoOn()
		tell("later", slots(app))
		return
	}

	direct := Got(pgxpool.New(ctx, os.Getenv("INTEROP_ADMIN")))
	Got(Got(rivermigrate.New(riverpgxv5.New(direct), nil)).Migrate(ctx, rivermigrate.DirectionUp, nil))
	admin := NewAdmin(ctx)
	old := start(ctx, "old", direct, slog.NewTextHandler(io.Discard, nil))
	admin.WaitForLeader(ctx, "old")

	pool := app
	if os.Getenv("RIVER_URL") != os.Getenv("APP_URL") {
		pool = Got(pgxpool.New(ctx, os.Getenv("RIVER_URL")))
	}
	failed := make(failures, 1)
	start(ctx, "new", pool, failed)
	for account := range leaks {
		forget(ctx, app, account)
	}
	tell("leaked", slots(app))
	toldToGoOn()

	began := time.Now()
	Must(old.Stop(ctx), "stop")
	elected := make(chan struct{})
	go func() {
		admin.WaitForLeader(ctx, "new")
		close(elected)
	}()
	select {
	case <-elected:
		tell("elected", facts{"seconds": time.Since(began).Seconds()})
	case text := <-failed:
		tell("not elected", facts{"error": text, "seconds": time.Since(began).Seconds()})
	}
	toldToGoOn()
	tell("later", slots(app))
}
