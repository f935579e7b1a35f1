<?php
// PDO, unchanged, with real prepared statements and with emulated ones (PDO::ATTR_EMULATE_PREPARES, PGSQL_ATTR_DISABLE_PREPARES);
// the options are those that Laravel's connector sets.
//
// The environment says where: INTEROP_TARGET and INTEROP_LEAKY (URLs through what is tested; the latter's guard ends what is
// idle in a transaction; missing where there is no guard) and INTEROP_ADMIN (PostgreSQL itself).

declare(strict_types=1);

const KEY = 20011; // an advisory lock that a leaked transaction holds: who gets it knows that the transaction was ended
const LEAK = "INSERT INTO notes (mark) SELECT 'leaked' FROM pg_advisory_xact_lock(" . KEY . ")";
const MANY = 60; // more than poolguard keeps on a server here
const LARGE = 8 * 1024 * 1024;
const ROWS = 20000;
const LARAVEL = [
    PDO::ATTR_CASE => PDO::CASE_NATURAL,
    PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
    PDO::ATTR_ORACLE_NULLS => PDO::NULL_NATURAL,
    PDO::ATTR_STRINGIFY_FETCHES => false,
    PDO::ATTR_EMULATE_PREPARES => false,
];

function connect(string $variable, array $options = []): PDO
{
    $url = parse_url(getenv($variable));
    $name = ltrim($url['path'], '/');
    return new PDO("pgsql:host={$url['host']};port={$url['port']};dbname={$name}", $url['user'], null, $options + LARAVEL);
}

function value(PDO $client, string $statement, array $parameters = []): mixed
{
    $prepared = $client->prepare($statement);
    $prepared->execute($parameters);
    return $prepared->columnCount() ? $prepared->fetchColumn() : null;
}

function admin(): PDO
{
    static $admin = null;
    return $admin ??= connect('INTEROP_ADMIN');
}

function marks(string $mark): int
{
    return value(admin(), 'SELECT count(*) FROM notes WHERE mark = ?', [$mark]);
}

function kill(int $pid): void
{
    same(value(admin(), 'SELECT pg_terminate_backend(?, 10000)', [$pid]), true);
}

function wait_until_rolled_back(): void
{
    value(admin(), 'SELECT pg_advisory_lock(?)', [KEY]);
    value(admin(), 'SELECT pg_advisory_unlock(?)', [KEY]);
}

function same(mixed $got, mixed $expected): void
{
    if ($got !== $expected) {
        throw new Exception(substr('got ' . json_encode($got), 0, 300) . substr(', expected ' . json_encode($expected), 0, 300));
    }
}

function fails(callable $do, string ...$codes): void
{
    try {
        $do();
    } catch (PDOException $error) {
        if ($codes && !in_array($error->getCode(), $codes, true)) {
            throw new Exception("SQLSTATE {$error->getCode()}, expected " . implode(', ', $codes), previous: $error);
        }
        return;
    }
    throw new Exception('no error, expected ' . implode(', ', $codes));
}

function transactions(): void
{
    $client = connect('INTEROP_TARGET');
    $client->beginTransaction();
    value($client, 'INSERT INTO notes (mark) VALUES (?)', ['kept']);
    $client->exec('SAVEPOINT trans2');
    fails(fn () => value($client, 'SELECT 1/?::int', [0]), '22012');
    $client->exec('ROLLBACK TO SAVEPOINT trans2');
    value($client, 'INSERT INTO notes (mark) VALUES (?)', ['kept']);
    $client->commit();
    $client->beginTransaction();
    value($client, 'INSERT INTO notes (mark) VALUES (?)', ['undone']);
    fails(fn () => $client->exec('SELECT 1/0'), '22012');
    fails(fn () => $client->exec('SELECT 1'), '25P02');
    same($client->inTransaction(), true);
    $client->rollBack();
    same($client->inTransaction(), false);
    $client->exec('START TRANSACTION ISOLATION LEVEL SERIALIZABLE');
    same(value($client, 'SHOW transaction_isolation'), 'serializable');
    $client->exec('COMMIT');
    value($client, "INSERT INTO notes (mark) VALUES ('with id')");
    same((int) $client->lastInsertId() > 0, true);
    same([marks('kept'), marks('undone')], [2, 0]);
}

function prepared(): void
{
    $one = connect('INTEROP_TARGET');
    $two = connect('INTEROP_TARGET');
    $kept = [];
    for ($n = 0; $n < MANY; $n++) {
        foreach ([$one, $two] as $client) {
            $kept[] = [$client->prepare("SELECT ?::int + $n"), $n];
        }
    }
    for ($round = 0; $round < 2; $round++) {
        foreach ($kept as [$statement, $n]) {
            $statement->execute([$n]);
            same($statement->fetchColumn(), 2 * $n);
        }
    }
    $kept = [];
    same(value($one, 'SELECT ?::text', ['still']), 'still');
}

// What Laravel's users set for other poolers still works, and is not needed.
function emulated(): void
{
    foreach ([[PDO::ATTR_EMULATE_PREPARES => true], [PDO::PGSQL_ATTR_DISABLE_PREPARES => true]] as $options) {
        $client = connect('INTEROP_TARGET', $options);
        for ($n = 0; $n < MANY; $n++) {
            same((int) value($client, "SELECT ?::int + $n", [$n]), 2 * $n);
        }
        $client->exec("SET application_name = 'emulated'; SET search_path = public");
        same(value($client, 'SHOW application_name'), 'emulated');
    }
    $lasting = connect('INTEROP_TARGET', [PDO::ATTR_PERSISTENT => true]);
    same(value($lasting, 'SELECT 1'), 1);
}

function copy_both_ways(): void
{
    $client = connect('INTEROP_TARGET');
    $lines = array_map(fn (int $n) => "copied\t$n", range(0, ROWS - 1));
    $client->pgsqlCopyFromArray('notes', $lines, "\t", '\\\\N', 'mark, number');
    $out = $client->pgsqlCopyToArray("(SELECT mark, number FROM notes WHERE mark = 'copied' ORDER BY 2)");
    same(array_map('trim', $out), $lines);
    fails(fn () => $client->pgsqlCopyFromArray('notes', ["bad\t1", "bad\tx"], "\t", '\\\\N', 'mark, number'), '22P02');
    same(value($client, 'SELECT 1'), 1);
    same(marks('bad'), 0);
}

function listen(): void
{
    $client = connect('INTEROP_TARGET');
    $other = connect('INTEROP_TARGET');
    $client->exec('LISTEN news');
    for ($n = 0; $n < 3; $n++) {
        value($other, "SELECT pg_notify('news', ?)", [(string) $n]);
    }
    for ($n = 0; $n < 3; $n++) {
        $told = $client->pgsqlGetNotify(PDO::FETCH_ASSOC, 10000);
        same($told['payload'] ?? null, (string) $n);
    }
    $client->exec('UNLISTEN *');
}

function large(): void
{
    $client = connect('INTEROP_TARGET');
    $bytes = str_repeat("\x00\x01Z\x00\x00\x00\x05I", intdiv(LARGE, 8));
    $statement = $client->prepare('SELECT ?::bytea');
    $statement->bindValue(1, $bytes, PDO::PARAM_LOB);
    $statement->execute();
    same(stream_get_contents($statement->fetchColumn()) === $bytes, true);
    $rows = $client->query("SELECT n, repeat('x', 100) FROM generate_series(1, " . ROWS . ') n')->fetchAll();
    same(count($rows), ROWS);
}

function reconnect(): void
{
    $client = connect('INTEROP_TARGET');
    $client->beginTransaction();
    kill(value($client, 'SELECT pg_backend_pid()'));
    fails(fn () => $client->exec('SELECT 1'));
    $again = connect('INTEROP_TARGET');
    same(value($again, 'SELECT 1'), 1);
}

function leaked_then_statement(): void
{
    $client = connect('INTEROP_LEAKY');
    $client->beginTransaction();
    $client->exec(LEAK);
    wait_until_rolled_back();
    fails(fn () => value($client, 'INSERT INTO notes (mark) VALUES (?)', ['rest']), '25P03');
    fails(fn () => value($client, 'INSERT INTO notes (mark) VALUES (?)', ['rest']), '25P02');
    same($client->inTransaction(), true);
    $client->rollBack();
    same(value($client, 'SELECT 1'), 1);
    same([marks('leaked'), marks('rest')], [0, 0]);
}

function leaked_then_commit(): void
{
    $client = connect('INTEROP_LEAKY');
    $client->beginTransaction();
    $client->exec(LEAK);
    wait_until_rolled_back();
    fails(fn () => $client->commit(), '25P03');
    same($client->inTransaction(), false);
    same(value($client, 'SELECT 1'), 1);
    same(marks('leaked'), 0);
}

// Statements that were prepared before the leak are executed after it; no error is looked at before COMMIT, which is one.
function leaked_in_block(): void
{
    $client = connect('INTEROP_LEAKY');
    $rest = $client->prepare("INSERT INTO notes (mark) VALUES (?)");
    $client->beginTransaction();
    $client->exec(LEAK);
    wait_until_rolled_back();
    for ($n = 0; $n < 3; $n++) {
        fails(fn () => $rest->execute(['rest']), '25P03', '25P02');
    }
    fails(fn () => $client->commit());
    $rest->execute(['after']);
    same([marks('leaked'), marks('rest'), marks('after')], [0, 0, 1]);
}

$scenarios = [
    'transactions' => transactions(...),
    'prepared' => prepared(...),
    'emulated' => emulated(...),
    'copy' => copy_both_ways(...),
    'listen' => listen(...),
    'large' => large(...),
    'reconnect' => reconnect(...),
    'leaked_then_statement' => leaked_then_statement(...),
    'leaked_then_commit' => leaked_then_commit(...),
    'leaked_in_block' => leaked_in_block(...),
];
foreach ($scenarios as $name => $scenario) {
    if (str_starts_with($name, 'leaked') && !getenv('INTEROP_LEAKY')) {
        continue;
    }
    $detail = '';
    try {
        $scenario();
    } catch (Throwable $error) {
        $detail = (string) $error;
    }
    $line = ['scenario' => $name, 'ok' => $detail === '', 'detail' => $detail];
    echo json_encode($line, JSON_INVALID_UTF8_SUBSTITUTE), "\n";
}
