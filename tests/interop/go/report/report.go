// Package report holds what the Go programs share: where to connect, what the administrator does, and how a scenario is told.
//
// The environment says where: INTEROP_TARGET and INTEROP_LEAKY (URLs through what is tested; the latter's guard ends what is
// idle in a transaction; missing where there is no guard) and INTEROP_ADMIN (PostgreSQL itself).
package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// Key is an advisory lock that a leaked transaction holds: who gets it knows that the transaction was ended.
	Key = 20011
	// Many is more than poolguard keeps on a server here, and than the drivers' caches are made to keep.
	Many = 60
	// Large is the length of a large value in bytes.
	Large = 8 << 20
	// Rows is the number of rows of a large result.
	Rows = 20_000
)

var (
	// Target is where the scenarios connect to.
	Target = os.Getenv("INTEROP_TARGET")
	// Leaky is the same with a guard that ends what is idle in a transaction.
	Leaky = os.Getenv("INTEROP_LEAKY")
	// Leak is what a transaction does before it is left.
	Leak = fmt.Sprintf("INSERT INTO notes (mark) SELECT 'leaked' FROM pg_advisory_xact_lock(%d)", Key)
)

// Scenario is one thing that a driver's user does.
type Scenario struct {
	Name string
	Run  func(ctx context.Context)
}

// Named makes a scenario.
func Named(name string, run func(context.Context)) Scenario { return Scenario{name, run} }

// Main runs all scenarios and tells of each in one line; those of leaks only where there is a guard.
func Main(scenarios ...Scenario) {
	for _, scenario := range scenarios {
		if strings.HasPrefix(scenario.Name, "leaked") && Leaky == "" {
			continue
		}
		line, err := json.Marshal(tell(scenario))
		if err != nil {
			panic(err)
		}
		fmt.Println(string(line))
	}
}

type told struct {
	Scenario string `json:"scenario"`
	OK       bool   `json:"ok"`
	Detail   string `json:"detail"`
}

func tell(scenario Scenario) (line told) {
	ctx, done := context.WithTimeout(context.Background(), 40*time.Second)
	defer done()
	line = told{Scenario: scenario.Name, OK: true}
	defer func() {
		if failed := recover(); failed != nil {
			line.OK, line.Detail = false, fmt.Sprint(failed)
		}
	}()
	scenario.Run(ctx)
	return line
}

// Must ends the scenario if there is an error.
func Must(err error, what string) {
	if err != nil {
		panic(fmt.Sprintf("%s: %v", what, err))
	}
}

// Got is Must for a call with a result.
func Got[T any](value T, err error) T {
	Must(err, fmt.Sprintf("no %T", value))
	return value
}

// Same ends the scenario unless both are equal.
func Same(got, expected any, what string) {
	if !reflect.DeepEqual(got, expected) {
		panic(fmt.Sprintf("%s: got %.300v, expected %.300v", what, got, expected))
	}
}

// Fails ends the scenario unless err has one of the SQLSTATEs; without any, unless it is an error.
func Fails(err error, what string, codes ...string) {
	if err == nil {
		panic(fmt.Sprintf("%s: no error, expected %v", what, codes))
	}
	var coded interface{ SQLState() string }
	if len(codes) == 0 {
		return
	}
	if errors.As(err, &coded) {
		for _, code := range codes {
			if coded.SQLState() == code {
				return
			}
		}
	}
	panic(fmt.Sprintf("%s: %v, expected %v", what, err, codes))
}

// Admin is PostgreSQL itself, past whatever is tested.
type Admin struct{ connection *pgx.Conn }

// NewAdmin connects as administrator.
func NewAdmin(ctx context.Context) Admin {
	return Admin{Got(pgx.Connect(ctx, os.Getenv("INTEROP_ADMIN")))}
}

func (admin Admin) value(ctx context.Context, statement string, arguments ...any) (value int) {
	Must(admin.connection.QueryRow(ctx, statement, arguments...).Scan(&value), statement)
	return value
}

// Marks counts committed notes.
func (admin Admin) Marks(ctx context.Context, mark string) int {
	return admin.value(ctx, "SELECT count(*) FROM notes WHERE mark = $1", mark)
}

// Kill ends a backend, and returns when it is gone.
func (admin Admin) Kill(ctx context.Context, pid int) {
	Same(admin.value(ctx, "SELECT pg_terminate_backend($1, 10000)::int", pid), 1, "pg_terminate_backend")
}

// Notify sends a notification.
func (admin Admin) Notify(ctx context.Context, channel, payload string) {
	Got(admin.connection.Exec(ctx, "SELECT pg_notify($1, $2)", channel, payload))
}

// WaitUntilRolledBack returns when the transaction that ran Leak has ended.
func (admin Admin) WaitUntilRolledBack(ctx context.Context) {
	Got(admin.connection.Exec(ctx, "SELECT pg_advisory_lock($1)", Key))
	Got(admin.connection.Exec(ctx, "SELECT pg_advisory_unlock($1)", Key))
}

const sleepers = "SELECT count(*) FROM pg_stat_activity WHERE query ~ 'pg_sleep' AND state = 'active' AND pid <> pg_backend_pid()"

// WaitUntilItSleeps returns when somebody runs pg_sleep.
func (admin Admin) WaitUntilItSleeps(ctx context.Context) {
	for admin.value(ctx, sleepers) == 0 {
		Got(admin.connection.Exec(ctx, "SELECT pg_sleep(0.01)"))
	}
}

// NothingSleeps returns when nobody runs pg_sleep any more.
func (admin Admin) NothingSleeps(ctx context.Context) {
	for admin.value(ctx, sleepers) != 0 {
		Got(admin.connection.Exec(ctx, "SELECT pg_sleep(0.01)"))
	}
}

// WaitForLeader returns when River's leader is the client of that id.
func (admin Admin) WaitForLeader(ctx context.Context, id string) {
	for admin.value(ctx, "SELECT count(*) FROM river_leader WHERE leader_id = $1 AND expires_at > now()", id) == 0 {
		Got(admin.connection.Exec(ctx, "SELECT pg_sleep(0.01)"))
	}
}
