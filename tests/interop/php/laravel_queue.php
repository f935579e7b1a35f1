<?php
// Laravel's database queue, unchanged: the framework's own queue manager, worker and connection, as `php artisan queue:work`
// puts them together. ROLE says what this process is: it pushes jobs, works on them, or both.
//
// Each job writes a row into `done`; what the worker reports, and which jobs failed, is told when the queue is empty.

declare(strict_types=1);

require 'Illuminate/Queue/autoload.php';
require 'Illuminate/Events/autoload.php';

use Illuminate\Container\Container;
use Illuminate\Contracts\Debug\ExceptionHandler;
use Illuminate\Database\Capsule\Manager as Database;
use Illuminate\Events\Dispatcher;
use Illuminate\Queue\Capsule\Manager as Queue;
use Illuminate\Queue\Connectors\DatabaseConnector;
use Illuminate\Queue\Events\JobFailed;
use Illuminate\Queue\Worker;
use Illuminate\Queue\WorkerOptions;

function tell(string $event, array $facts = []): void
{
    echo json_encode(['event' => $event] + $facts, JSON_INVALID_UTF8_SUBSTITUTE), "\n";
}

// Whoever plays us wants us to go on, or has gone.
function told_to_go_on(): void
{
    if (fgets(STDIN) === false) {
        exit(0);
    }
}

class Errors implements ExceptionHandler
{
    public array $reported = [];

    public function report(Throwable $e)
    {
        $this->reported[] = substr($e->getMessage(), 0, 300);
    }

    public function shouldReport(Throwable $e)
    {
        return true;
    }

    public function render($request, Throwable $e)
    {
    }

    public function renderForConsole($output, Throwable $e)
    {
    }
}

class WriteDone
{
    public function fire($job, array $data): void
    {
        Database::table('done')->insert(['number' => $data['number'], 'worker' => getmypid()]);
        $job->delete();
    }
}

$url = parse_url(getenv('DATABASE_URL'));
$container = new Container();
Container::setInstance($container);
$database = new Database($container);
// As in config/database.php of a new application, but for the place.
$database->addConnection(array_filter([
    'driver' => 'pgsql',
    'host' => $url['host'],
    'port' => $url['port'],
    'database' => ltrim($url['path'], '/'),
    'username' => $url['user'],
    'password' => '',
    'charset' => 'utf8',
    'schema' => getenv('SCHEMA') ?: null,
    'application_name' => getenv('NAME'),
    // What the framework asks PostgreSQL for, unless this says otherwise.
    'version' => getenv('VERSION') ?: null,
], fn ($value) => $value !== null));
$database->setAsGlobal();
$events = new Dispatcher($container);
$database->setEventDispatcher($events);
$container->instance('events', $events);

$queue = new Queue($container);
$queue->getQueueManager()->addConnector('database', fn () => new DatabaseConnector($database->getDatabaseManager()));
$queue->addConnection(['driver' => 'database', 'table' => 'jobs', 'queue' => 'default', 'retry_after' => 90]);

if (getenv('ROLE') === 'push') {
    for ($n = 0; $n < (int) getenv('JOBS'); $n++) {
        $queue->getConnection()->push('WriteDone', ['number' => $n]);
    }
    tell('pushed');
    exit(0);
}

$errors = new Errors();
$failed = 0;
$events->listen(JobFailed::class, function () use (&$failed) {
    $failed++;
});
$pop = '';
$database->connection()->listen(function ($query) use (&$pop) {
    if (!str_contains($query->sql, '"reserved_at" is null')) {
        return;
    }
    $first = $pop === '';
    $pop = $query->sql;
    // A listener that takes its time in the middle of a pop.
    if ($first && getenv('ROLE') === 'hang') {
        tell('inside');
        told_to_go_on();
    }
});

$worker = new Worker($queue->getQueueManager(), $events, $errors, fn () => false);
$options = new WorkerOptions(sleep: 0, maxTries: 1, stopWhenEmpty: true);
tell('ready');
told_to_go_on();
$exit = $worker->daemon('default', 'default', $options);
tell('ended', ['exit' => $exit, 'failed' => $failed, 'reported' => $errors->reported, 'pop' => $pop]);
told_to_go_on(); // still connected
