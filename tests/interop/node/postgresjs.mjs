// postgres.js, unchanged: it pipelines what is in flight, prepares by itself, and keeps connections in a pool of its own.

import { pipeline as pipe } from "node:stream/promises";
import { Readable } from "node:stream";
import postgres from "postgres";
import { admin, LARGE, LEAK, LEAKY, main, MANY, rejects, ROWS, same, TARGET } from "./report.mjs";

async function withPool(url, options, use) {
  const sql = postgres(url, { onnotice: () => {}, ...options });
  try {
    await use(sql);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

async function transactions() {
  await withPool(TARGET, { max: 2 }, async (sql) => {
    await sql.begin(async (tx) => {
      await tx`INSERT INTO notes (mark) VALUES (${"kept"})`;
      const nested = tx.savepoint(async (inner) => {
        await inner`INSERT INTO notes (mark) VALUES ('undone')`;
        await inner`SELECT 1/0`;
      });
      await rejects(nested, "22012");
      await tx`INSERT INTO notes (mark) VALUES ('kept')`;
    });
    await rejects(
      sql.begin(async (tx) => {
        await tx`INSERT INTO notes (mark) VALUES ('undone')`;
        await tx`SELECT 1/0`;
      }),
      "22012",
    );
    await sql.begin("ISOLATION LEVEL SERIALIZABLE READ ONLY", async (tx) => {
      same([...(await tx`SHOW transaction_isolation`)], [{ transaction_isolation: "serializable" }]);
    });
  });
  same([await admin.marks("kept"), await admin.marks("undone")], [2, 0]);
}

async function prepared() {
  for (const prepare of [true, false])
    await withPool(TARGET, { max: 3, prepare }, async (sql) => {
      for (let round = 0; round < 2; round++) {
        const all = Array.from({ length: MANY }, (_, n) => sql.unsafe(`SELECT $1::int + ${n} AS v`, [n], { prepare }));
        same((await Promise.all(all)).map(([row]) => row.v), Array.from({ length: MANY }, (_, n) => 2 * n));
      }
    });
}

async function copy() {
  await withPool(TARGET, { max: 1 }, async (sql) => {
    const lines = Array.from({ length: ROWS }, (_, n) => `copied\t${n}\n`);
    await pipe(Readable.from(lines), await sql`COPY notes (mark, number) FROM STDIN`.writable());
    same([...(await sql`SELECT 1 AS v`)], [{ v: 1 }]);
    const got = [];
    const source = await sql`COPY (SELECT mark, number FROM notes WHERE mark = 'copied' ORDER BY 2) TO STDOUT`.readable();
    for await (const chunk of source) got.push(chunk);
    same(Buffer.concat(got).toString(), lines.join(""));
    // No bad row, and nothing behind COPY TO: now and then the driver waits for ever, on PostgreSQL itself too.
  });
}

async function cancel() {
  await withPool(TARGET, { max: 1 }, async (sql) => {
    const sleeping = sql`SELECT pg_sleep(60)`.execute();
    await admin.waitUntilItSleeps();
    sleeping.cancel();
    await rejects(sleeping, "57014");
    same([...(await sql`SELECT 1 AS v`)], [{ v: 1 }]);
  });
}

// One connection, everything sent before the first answer: an error in the middle ends only its own statement.
async function pipeline() {
  await withPool(TARGET, { max: 1, max_pipeline: 100 }, async (sql) => {
    await sql`SELECT 1`;
    const ends = await Promise.allSettled(
      Array.from({ length: 50 }, (_, n) => sql`INSERT INTO notes (mark, number) VALUES ('piped', ${10} / ${n % 5}::int)`),
    );
    same(ends.filter(({ status }) => status === "rejected").length, 10);
    same(new Set(ends.filter(({ reason }) => reason).map(({ reason }) => reason.code)), new Set(["22012"]));
    const broken = sql.begin((tx) => [
      tx`INSERT INTO notes (mark) VALUES ('undone')`,
      tx`SELECT 1/0`,
      tx`INSERT INTO notes (mark) VALUES ('undone')`,
    ]);
    await rejects(broken, "22012");
  });
  same([await admin.marks("piped"), await admin.marks("undone")], [40, 0]);
}

async function listen() {
  await withPool(TARGET, { max: 1 }, async (sql) => {
    const told = [];
    let done;
    const three = new Promise((resolve) => (done = resolve));
    const { unlisten } = await sql.listen("news", (payload) => told.push(payload) === 3 && done());
    for (let n = 0; n < 3; n++) await sql.notify("news", String(n));
    await three;
    same(told, ["0", "1", "2"]);
    await unlisten();
  });
}

async function large() {
  await withPool(TARGET, { max: 1 }, async (sql) => {
    const value = Buffer.alloc(LARGE, "\x00\x01Z\x00\x00\x00\x05I");
    const [{ v }] = await sql`SELECT ${value}::bytea AS v`;
    same(v, value);
    let count = 0;
    await sql`SELECT n, repeat('x', 100) FROM generate_series(1, ${ROWS}::int) n`.cursor(1000, (rows) => {
      count += rows.length;
    });
    same(count, ROWS);
  });
}

// The end of the connection rejects `begin` by itself. To send a statement then is beyond this driver, on PostgreSQL itself too:
// now and then its process ends, or the statement goes to the next connection, before the login.
async function reconnect() {
  await withPool(TARGET, { max: 1 }, async (sql) => {
    await rejects(
      sql.begin(async (tx) => {
        const [{ pid }] = await tx`SELECT pg_backend_pid() AS pid`;
        await admin.kill(pid);
        await new Promise(() => {});
      }),
    );
    same([...(await sql`SELECT 1 AS v`)], [{ v: 1 }]);
  });
}

async function crowd() {
  await withPool(TARGET, { max: 12 }, async (sql) => {
    const one = async (mark) => {
      for (let n = 0; n < 20; n++) {
        const found = await sql.begin(
          (tx) => tx`SELECT ${`${mark}/${n}`}::text AS one, repeat(${String(mark)}::text, 500) AS two`,
        );
        same([...found], [{ one: `${mark}/${n}`, two: String(mark).repeat(500) }]);
      }
    };
    await Promise.all(Array.from({ length: 24 }, (_, mark) => one(mark)));
  });
}

async function leaked_then_statement() {
  await withPool(LEAKY, { max: 1 }, async (sql) => {
    const client = await sql.reserve();
    await client`BEGIN`;
    await client.unsafe(LEAK);
    await admin.waitUntilRolledBack();
    await rejects(client`INSERT INTO notes (mark) VALUES (${"rest"})`, "25P03");
    await rejects(client`INSERT INTO notes (mark) VALUES (${"rest"})`, "25P02");
    await client`ROLLBACK`;
    same([...(await client`SELECT 1 AS v`)], [{ v: 1 }]);
    client.release();
  });
  same([await admin.marks("leaked"), await admin.marks("rest")], [0, 0]);
}

async function leaked_then_commit() {
  await withPool(LEAKY, { max: 1 }, async (sql) => {
    await rejects(
      sql.begin(async (tx) => {
        await tx.unsafe(LEAK);
        await admin.waitUntilRolledBack();
      }),
      "25P03",
    );
    same([...(await sql`SELECT 1 AS v`)], [{ v: 1 }]);
  });
  same(await admin.marks("leaked"), 0);
}

async function leaked_in_block() {
  await withPool(LEAKY, { max: 1 }, async (sql) => {
    await rejects(
      sql.begin(async (tx) => {
        await tx.unsafe(LEAK);
        await admin.waitUntilRolledBack();
        const rest = Array.from({ length: 10 }, () => tx`INSERT INTO notes (mark) VALUES ('rest')`);
        const ends = await Promise.allSettled(rest);
        same(new Set(ends.map(({ status }) => status)), new Set(["rejected"]));
        await tx`INSERT INTO notes (mark) VALUES ('rest')`;
      }),
      "25P03", "25P02",
    );
    await sql`INSERT INTO notes (mark) VALUES ('after')`;
  });
  same([await admin.marks("leaked"), await admin.marks("rest"), await admin.marks("after")], [0, 0, 1]);
}

await main({
  transactions,
  prepared,
  copy,
  cancel,
  pipeline,
  listen,
  large,
  reconnect,
  crowd,
  leaked_then_statement,
  leaked_then_commit,
  leaked_in_block,
});
