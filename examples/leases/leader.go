// Leader election through poolguard with nothing but net/http.
//
//	go run leader.go scheduler pod-1
//
// It prints "leading TOKEN" when elected and "lost" when the lease is gone, and gives the lease back on SIGTERM.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const ttl = 15 * time.Second

var client = &http.Client{}

// lease is what poolguard answers: of a term, or of whoever holds it.
type lease struct {
	HolderIdentity string `json:"holderIdentity"`
	Token          int64  `json:"token"`
	ValidForMs     int64  `json:"validForMs"`
	Error          string `json:"error"`
	// On our own clock, from before the request was sent: a slow answer is no longer trust.
	trustedUntil time.Time
}

type elector struct{ base, name, holder string }

func (e elector) ask(ctx context.Context, method, path string, body any, within time.Duration) (int, lease, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	content, err := json.Marshal(body)
	if err != nil {
		return 0, lease{}, err
	}
	request, err := http.NewRequestWithContext(ctx, method, e.base+path, bytes.NewReader(content))
	if err != nil {
		return 0, lease{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	sentAt := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return 0, lease{}, err
	}
	defer response.Body.Close()
	var answer lease
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil && response.StatusCode != http.StatusNoContent {
		return 0, lease{}, err
	}
	answer.trustedUntil = sentAt.Add(time.Duration(answer.ValidForMs) * time.Millisecond)
	return response.StatusCode, answer, nil
}

// acquire stands for election until it is elected, or ctx ends.
func (e elector) acquire(ctx context.Context) (lease, bool) {
	// The same id until its outcome is known: after a lost answer it finds the term that it got.
	requestID := rand.Text()
	for ctx.Err() == nil {
		status, answer, err := e.ask(ctx, http.MethodPut, "/v1/leases/"+e.name, map[string]any{
			"holderIdentity": e.holder, "leaseDurationSeconds": ttl.Seconds(), "requestId": requestID,
		}, 5*time.Second)
		pause := 500 * time.Millisecond // poolguard is away, or can't tell
		switch {
		case err != nil:
		case status == http.StatusOK || status == http.StatusCreated:
			if time.Now().Before(answer.trustedUntil) {
				return answer, true
			}
			requestID, pause = rand.Text(), 0
		case answer.Error == "lease_lost": // this id has had its term
			requestID, pause = rand.Text(), 0
		case status == http.StatusConflict:
			pause = min(time.Second, time.Duration(answer.ValidForMs)*time.Millisecond)
		case status < 500:
			fmt.Fprintln(os.Stderr, "poolguard refuses:", status, answer.Error)
			os.Exit(1)
		}
		sleep(ctx, max(pause, 50*time.Millisecond))
	}
	return lease{}, false
}

// lead runs work while the term is trusted: its context ends when trust does, or when ctx does.
func (e elector) lead(ctx context.Context, term lease, work func(ctx context.Context, token int64)) {
	working, stop := context.WithCancel(ctx)
	defer stop()
	// The end of trust needs no answer from anybody.
	expiry := time.AfterFunc(time.Until(term.trustedUntil), stop)
	defer expiry.Stop()
	done := make(chan struct{})
	go func() { defer close(done); work(working, term.Token) }()
	for working.Err() == nil {
		sleep(working, ttl/3)
		if working.Err() != nil {
			break
		}
		within := min(2*time.Second, time.Until(term.trustedUntil)/2)
		status, answer, err := e.ask(working, http.MethodPost, "/v1/leases/"+e.name+"/renew", map[string]any{
			"holderIdentity": e.holder, "token": term.Token,
		}, within)
		switch {
		case err == nil && status == http.StatusOK:
			term.trustedUntil = answer.trustedUntil
			expiry.Reset(time.Until(term.trustedUntil))
		case err == nil && status == http.StatusConflict:
			stop() // lost: at once
		default: // neither yes nor no: again, soon, while trust lasts
			sleep(working, min(time.Second, time.Until(term.trustedUntil)/4))
		}
	}
	stop()
	<-done // whatever the lease protects has ended before it is given back
	query := url.Values{"holderIdentity": {e.holder}, "token": {fmt.Sprint(term.Token)}}
	e.ask(context.Background(), http.MethodDelete, "/v1/leases/"+e.name+"?"+query.Encode(), nil, 2*time.Second)
}

func sleep(ctx context.Context, length time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(length):
	}
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: leader NAME HOLDER")
		os.Exit(2)
	}
	base := os.Getenv("POOLGUARD_URL")
	if base == "" {
		base = "http://127.0.0.1:6433"
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	e := elector{base: base, name: os.Args[1], holder: os.Args[2]}
	for {
		term, elected := e.acquire(ctx)
		if !elected {
			return
		}
		e.lead(ctx, term, func(ctx context.Context, token int64) {
			fmt.Println("leading", token) // do the work here; send the token along to whatever you change
			<-ctx.Done()
		})
		if ctx.Err() != nil {
			return
		}
		fmt.Println("lost")
	}
}
