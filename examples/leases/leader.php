<?php
// Leader election through poolguard with nothing but PHP's own HTTP streams (PHP 8.1 or newer, extension pcntl).
//
//   php leader.php scheduler pod-1
//
// It prints "leading TOKEN" when elected and "lost" when the lease is gone, and gives the lease back on SIGTERM.

declare(strict_types=1);

const TTL = 15.0;

/** Seconds on a clock that nobody sets. */
function now(): float
{
    return hrtime(true) / 1e9;
}

final class Leader
{
    private bool $ended = false;
    private int $token = 0;
    private float $trustedUntil = 0.0;
    private float $renewAt = 0.0;

    public function __construct(private string $base, private string $name, private string $holder)
    {
        pcntl_async_signals(true);
        foreach ([SIGTERM, SIGINT] as $signal) {
            pcntl_signal($signal, function (): void {
                $this->ended = true;
            });
        }
    }

    /** Stand for election until elected; false once we are told to end. */
    public function acquire(): bool
    {
        // The same id until its outcome is known: after a lost answer it finds the term that it got.
        $requestId = bin2hex(random_bytes(16));
        while (!$this->ended) {
            $sentAt = now();
            [$status, $lease] = $this->ask('PUT', "/v1/leases/{$this->name}", [
                'holderIdentity' => $this->holder, 'leaseDurationSeconds' => TTL, 'requestId' => $requestId,
            ], 5.0);
            $pause = 0.5; // poolguard is away, or can't tell
            if ($status === 200 || $status === 201) {
                $this->token = $lease['token'];
                $this->trust($sentAt, $lease);
                if (now() < $this->trustedUntil) {
                    return true;
                }
                $requestId = bin2hex(random_bytes(16));
            } elseif (($lease['error'] ?? '') === 'lease_lost') {
                $requestId = bin2hex(random_bytes(16)); // this id has had its term
            } elseif ($status === 409) {
                $pause = min(1.0, $lease['validForMs'] / 1000);
            } elseif ($status !== 0 && $status < 500) {
                throw new RuntimeException("poolguard refuses: $status " . ($lease['error'] ?? ''));
            }
            usleep((int) (max($pause, 0.05) * 1e6));
        }
        return false;
    }

    /**
     * Whether the lease is ours, now: ask before each piece of work, and keep the pieces shorter than a third of TTL.
     * PHP has no threads, so this is also where it is renewed.
     */
    public function leads(): bool
    {
        if ($this->ended) {
            return false;
        }
        if (now() >= $this->renewAt) {
            $left = $this->trustedUntil - now();
            $sentAt = now();
            [$status, $lease] = $left > 0 ? $this->ask('POST', "/v1/leases/{$this->name}/renew", [
                'holderIdentity' => $this->holder, 'token' => $this->token,
            ], min(2.0, $left / 2)) : [409, []];
            if ($status === 200) {
                $this->trust($sentAt, $lease);
            } elseif ($status === 409) {
                $this->trustedUntil = 0.0; // lost: at once
            } else { // neither yes nor no: again, soon, while trust lasts
                $this->renewAt = now() + max(0.05, min(1.0, $left / 4));
            }
        }
        return now() < $this->trustedUntil;
    }

    public function token(): int
    {
        return $this->token;
    }

    public function ended(): bool
    {
        return $this->ended;
    }

    public function release(): void
    {
        $query = http_build_query(['holderIdentity' => $this->holder, 'token' => $this->token]);
        $this->ask('DELETE', "/v1/leases/{$this->name}?$query", null, 2.0);
    }

    /** From before the request was sent: a slow answer is no longer trust. */
    private function trust(float $sentAt, array $lease): void
    {
        $this->trustedUntil = $sentAt + $lease['validForMs'] / 1000;
        $this->renewAt = $sentAt + TTL / 3;
    }

    /** Ask poolguard: status and body; status 0: no answer, which is neither a yes nor a no. */
    private function ask(string $method, string $path, ?array $body, float $within): array
    {
        $answer = @file_get_contents($this->base . $path, false, stream_context_create(['http' => [
            'method' => $method,
            'header' => "Content-Type: application/json\r\nConnection: close",
            'content' => $body === null ? '' : json_encode($body),
            'timeout' => max($within, 0.05),
            'ignore_errors' => true,
        ]]));
        if ($answer === false || !preg_match('~^HTTP/\S+ (\d+)~', $http_response_header[0] ?? '', $found)) {
            return [0, []];
        }
        return [(int) $found[1], json_decode($answer, true) ?? []];
    }
}

if ($argc !== 3) {
    fwrite(STDERR, "usage: php leader.php NAME HOLDER\n");
    exit(2);
}
$leader = new Leader(getenv('POOLGUARD_URL') ?: 'http://127.0.0.1:6433', $argv[1], $argv[2]);
while ($leader->acquire()) {
    echo "leading {$leader->token()}\n";
    while ($leader->leads()) {
        usleep(100_000); // a piece of work; send the token along to whatever you change
    }
    $leader->release();
    if ($leader->ended()) {
        break;
    }
    echo "lost\n";
}
