// node-postgres, unchanged: clients, its pool, named statements, COPY streams, notifications.

import { pipeline as pipe } from "node:stream/promises";
import { Readable, Writable } from "node:stream";
import { once } from "node:events";
import pg from "pg";
import { from as copyFrom, to as copyTo } from "pg-copy-streams";
import { Admin, admin, LARGE, LEAK, LEAKY, main, MANY, rejects, ROWS, same, TARGET } from "./report.mjs";

async function withClient(url, use) {
  const client = new pg.Client(url);
  await client.connect();
  try {
    await use(client);
  } finally {
    await client.end();
  }
}

async function rows(client, text, values) {
  return (await client.query({ text, values, rowMode: "array" })).rows;
}

async function transactions() {
  await withClient(TARGET, async (client) => {
    await client.query("BEGIN");
    await client.query("INSERT INTO notes (mark) VALUES ($1)", ["kept"]);
    await client.query("SAVEPOINT here");
    await rejects(client.query("SELECT 1/0"), "22012");
    await client.query("ROLLBACK TO SAVEPOINT here");
    await client.query("INSERT INTO notes (mark) VALUES ('kept')");
    await client.query("COMMIT");
    await client.query("BEGIN ISOLATION LEVEL SERIALIZABLE");
    same(await rows(client, "SHOW transaction_isolation"), [["serializable"]]);
    await client.query("INSERT INTO notes (mark) VALUES ('undone')");
    await rejects(client.query("SELECT 1/0"), "22012");
    await rejects(client.query("SELECT 1"), "25P02");
    same((await client.query("COMMIT")).command, "ROLLBACK");
    const [one, two] = await client.query("SELECT 1; SELECT 2");
    same([one.rowCount, two.rowCount], [1, 1]);
  });
  same([await admin.marks("kept"), await admin.marks("undone")], [2, 0]);
}

async function prepared() {
  const clients = [new pg.Client(TARGET), new pg.Client(TARGET)];
  for (const client of clients) await client.connect();
  for (let round = 0; round < 2; round++)
    for (let n = 0; n < MANY; n++)
      for (const [offset, client] of clients.entries())
        same(
          await rows(client, { name: `s${n}`, text: `SELECT $1::int + ${n + offset}` }.text, [n]),
          [[2 * n + offset]],
        );
  for (let round = 0; round < 2; round++)
    for (let n = 0; n < MANY; n++)
      for (const [offset, client] of clients.entries()) {
        const found = await client.query({
          name: `s${n}`, text: `SELECT $1::int + ${n + offset} AS v`, values: [n], rowMode: "array",
        });
        same(found.rows, [[2 * n + offset]]);
      }
  for (const client of clients) await client.end();
}

async function copy() {
  await withClient(TARGET, async (client) => {
    const lines = Array.from({ length: ROWS }, (_, n) => `copied\t${n}\n`);
    await pipe(Readable.from(lines), client.query(copyFrom("COPY notes (mark, number) FROM STDIN")));
    const got = [];
    const sink = new Writable({ write: (chunk, _, done) => (got.push(chunk), done()) });
    await pipe(
      client.query(copyTo("COPY (SELECT mark, number FROM notes WHERE mark = 'copied' ORDER BY 2) TO STDOUT")),
      sink,
    );
    same(Buffer.concat(got).toString(), lines.join(""));
    const bad = pipe(Readable.from(["bad\t1\nbad\tx\n"]), client.query(copyFrom("COPY notes (mark, number) FROM STDIN")));
    await rejects(bad, "22P02");
    same(await rows(client, "SELECT 1"), [[1]]);
  });
  same(await admin.marks("bad"), 0);
}

// It has no public cancel for a query, so: a second client with pg_cancel_backend; and statement_timeout of its own.
async function cancel() {
  await withClient(TARGET, async (client) => {
    await client.query("BEGIN");
    const [[pid]] = await rows(client, "SELECT pg_backend_pid()");
    const sleeping = rejects(client.query("SELECT pg_sleep(60)"), "57014");
    await admin.waitUntilItSleeps();
    await admin.value("SELECT pg_cancel_backend($1)", pid);
    await sleeping;
    await client.query("ROLLBACK");
    same(await rows(client, "SELECT 1"), [[1]]);
  });
  // The protocol's own cancel, as the driver has it inside: by the key that it was given at login.
  const victim = new pg.Client(TARGET);
  await victim.connect();
  const sleeping = rejects(victim.query("SELECT pg_sleep(60)"), "57014");
  await admin.waitUntilItSleeps();
  const canceller = new pg.Connection();
  canceller.connect(victim.port, victim.host);
  await once(canceller, "connect");
  canceller.cancel(victim.processID, victim.secretKey);
  await sleeping;
  same(await rows(victim, "SELECT 1"), [[1]]);
  await victim.end();
}

async function listen() {
  await withClient(TARGET, (client) =>
    withClient(TARGET, async (other) => {
      const told = [];
      const four = new Promise((done) => {
        client.on("notification", ({ payload }) => told.push(payload) === 4 && done());
      });
      await client.query("LISTEN news");
      for (let n = 0; n < 3; n++) await other.query("SELECT pg_notify('news', $1)", [String(n)]);
      await client.query("NOTIFY news, 'own'");
      await four;
      same(told.toSorted(), ["0", "1", "2", "own"]);
      same(told.filter((payload) => payload !== "own"), ["0", "1", "2"]);
      await client.query("UNLISTEN *");
    }),
  );
}

async function large() {
  await withClient(TARGET, async (client) => {
    const value = Buffer.alloc(LARGE, "\x00\x01Z\x00\x00\x00\x05I");
    const [[got]] = await rows(client, "SELECT $1::bytea", [value]);
    same(got, value);
    const many = await rows(client, "SELECT n, repeat('x', 100) FROM generate_series(1, $1::int) n", [ROWS]);
    same(many.length, ROWS);
  });
}

// A pool whose connection is killed in use and at rest: errors and events, no process that dies.
async function reconnect() {
  const pool = new pg.Pool({ connectionString: TARGET, max: 1 });
  pool.on("error", () => {});
  const client = await pool.connect();
  client.on("error", () => {});
  await client.query("BEGIN");
  await admin.kill((await rows(client, "SELECT pg_backend_pid()"))[0][0]);
  await rejects(client.query("SELECT 1"));
  client.release(true);
  same(await rows(pool, "SELECT 1"), [[1]]);
  await pool.end();
}

async function crowd() {
  const pool = new pg.Pool({ connectionString: TARGET, max: 12 });
  const one = async (mark) => {
    for (let n = 0; n < 20; n++) {
      const client = await pool.connect();
      await client.query("BEGIN");
      const found = await rows(client, "SELECT $1::text, repeat($2::text, 500)", [`${mark}/${n}`, String(mark)]);
      same(found, [[`${mark}/${n}`, String(mark).repeat(500)]]);
      await client.query("COMMIT");
      client.release();
    }
  };
  await Promise.all(Array.from({ length: 24 }, (_, mark) => one(mark)));
  await pool.end();
}

async function leaked_then_statement() {
  const pool = new pg.Pool({ connectionString: LEAKY, max: 1 });
  const client = await pool.connect();
  await client.query("BEGIN");
  await client.query(LEAK);
  await admin.waitUntilRolledBack();
  await rejects(client.query("INSERT INTO notes (mark) VALUES ($1)", ["rest"]), "25P03");
  await rejects(client.query("INSERT INTO notes (mark) VALUES ($1)", ["rest"]), "25P02");
  same((await client.query("ROLLBACK")).command, "ROLLBACK");
  same(await rows(client, "SELECT 1"), [[1]]);
  client.release();
  await pool.end();
  same([await admin.marks("leaked"), await admin.marks("rest")], [0, 0]);
}

async function leaked_then_commit() {
  await withClient(LEAKY, async (client) => {
    await client.query("BEGIN");
    await client.query(LEAK);
    await admin.waitUntilRolledBack();
    await rejects(client.query("COMMIT"), "25P03");
    same(await rows(client, "SELECT 1"), [[1]]);
  });
  same(await admin.marks("leaked"), 0);
}

// All the rest is queued in the driver at once, nothing of it is looked at before the end.
async function leaked_in_block() {
  await withClient(LEAKY, async (client) => {
    await client.query("BEGIN");
    await client.query(LEAK);
    await admin.waitUntilRolledBack();
    const rest = ["INSERT INTO notes (mark) VALUES ('rest')", "INSERT INTO notes (mark) VALUES ('rest')", "COMMIT"];
    const ends = await Promise.allSettled(rest.map((statement) => client.query(statement)));
    same(ends.map(({ status }) => status), ["rejected", "rejected", "rejected"]);
    same(ends.map(({ reason }) => reason.code).slice(0, 2), ["25P03", "25P02"]);
    await client.query("INSERT INTO notes (mark) VALUES ('after')");
  });
  same([await admin.marks("leaked"), await admin.marks("rest"), await admin.marks("after")], [0, 0, 1]);
}

await main({
  transactions,
  prepared,
  copy,
  cancel,
  listen,
  large,
  reconnect,
  crowd,
  leaked_then_statement,
  leaked_then_commit,
  leaked_in_block,
});
