// River, the job queue: its schema, jobs that are inserted in a transaction and worked, and its leader election.
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	. "poolguard.test/interop/report"
)

const jobs = 100

// River's client has a pool of its own, as the README says; the workers' transactions go to the target.
var election = cmp.Or(os.Getenv("INTEROP_ELECTION"), Target)

var admin = NewAdmin(context.Background())

type noteArgs struct {
	Number int `json:"number"`
}

func (noteArgs) Kind() string { return "note" }

type noteWorker struct {
	river.WorkerDefaults[noteArgs]
	pool *pgxpool.Pool
}

// Work inserts a note and completes its job in one transaction.
func (worker *noteWorker) Work(ctx context.Context, job *river.Job[noteArgs]) error {
	return pgx.BeginFunc(ctx, worker.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO notes (mark, number) VALUES ('worked', $1)", job.Args.Number); err != nil {
			return err
		}
		_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
}

func start(ctx context.Context, id string) (client *river.Client[pgx.Tx], stop func()) {
	own := Got(pgxpool.New(ctx, election+"?pool_max_conns=8"))
	pool := Got(pgxpool.New(ctx, Target+"?pool_max_conns=20"))
	workers := river.NewWorkers()
	river.AddWorker(workers, &noteWorker{pool: pool})
	client = Got(river.NewClient(riverpgxv5.New(own), &river.Config{
		ID:      id,
		Logger:  slog.New(slog.NewTextHandler(io.Discard, nil)),
		Queues:  map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 10}},
		Workers: workers,
	}))
	Must(client.Start(ctx), "start")
	return client, func() {
		Must(client.Stop(ctx), "stop")
		own.Close()
		pool.Close()
	}
}

func work(ctx context.Context) {
	pool := Got(pgxpool.New(ctx, Target))
	defer pool.Close()
	Got(Got(rivermigrate.New(riverpgxv5.New(pool), nil)).Migrate(ctx, rivermigrate.DirectionUp, nil))
	client, stop := start(ctx, "worker")
	defer stop()
	completed, unsubscribe := client.Subscribe(river.EventKindJobCompleted)
	defer unsubscribe()
	undone := Got(pool.Begin(ctx))
	Got(client.InsertTx(ctx, undone, noteArgs{Number: -1}, nil))
	Must(undone.Rollback(ctx), "rollback")
	var many []river.InsertManyParams
	for n := range jobs {
		many = append(many, river.InsertManyParams{Args: noteArgs{Number: n}})
	}
	Must(pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		_, err := client.InsertManyTx(ctx, tx, many)
		return err
	}), "insert")
	for n := range jobs {
		select {
		case <-completed:
		case <-ctx.Done():
			panic(fmt.Sprintf("only %d of %d jobs are done", n, jobs))
		}
	}
	Same(admin.Marks(ctx, "worked"), jobs, "worked")
}

// The second client takes over when the first one has resigned.
func leader(ctx context.Context) {
	_, stopOne := start(ctx, "one")
	admin.WaitForLeader(ctx, "one")
	_, stopTwo := start(ctx, "two")
	stopOne()
	admin.WaitForLeader(ctx, "two")
	stopTwo()
}

func main() {
	Main(
		Named("work", work),
		Named("leader", leader),
	)
}
