// Write only as the holder of a lease: fence_pgx NAME TOKEN, with PostgreSQL in DATABASE_URL.
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func write(ctx context.Context, conn *pgx.Conn, name string, token int64) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// First of all: fails unless this very term still runs, and keeps the next holder out until COMMIT.
		if _, err := tx.Exec(ctx, "SELECT poolguard.holds($1, $2)", name, token); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "INSERT INTO fenced VALUES ($1, $2)", name, token)
		return err
	})
}

func main() {
	ctx := context.Background()
	token, err := strconv.ParseInt(os.Args[2], 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	conn, err := pgx.Connect(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close(ctx)
	var pgErr *pgconn.PgError
	if err := write(ctx, conn, os.Args[1], token); errors.As(err, &pgErr) && pgErr.Code == "55000" {
		log.Fatal("not the holder any more: ", pgErr.Message)
	} else if err != nil {
		log.Fatal(err)
	}
}
