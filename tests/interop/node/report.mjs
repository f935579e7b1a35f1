// What the Node programs share: where to connect, what the administrator does, and how a scenario is told.
//
// The environment says where: INTEROP_TARGET and INTEROP_LEAKY (URLs through what is tested; the latter's guard ends what is
// idle in a transaction; missing where there is no guard) and INTEROP_ADMIN (PostgreSQL itself).

import { deepStrictEqual } from "node:assert";
import pg from "pg";

export const TARGET = process.env.INTEROP_TARGET;
export const LEAKY = process.env.INTEROP_LEAKY ?? "";

// An advisory lock that a leaked transaction holds: who gets it knows that the transaction was ended.
export const KEY = 20011;
export const LEAK = `INSERT INTO notes (mark) SELECT 'leaked' FROM pg_advisory_xact_lock(${KEY})`;

// More than poolguard keeps on a server here, and than the drivers' caches are made to keep.
export const MANY = 60;
export const LARGE = 8 * 1024 * 1024;
export const ROWS = 20000;

const SLEEPERS =
  "SELECT count(*)::int FROM pg_stat_activity WHERE query ~ 'pg_sleep' AND state = 'active' AND pid <> pg_backend_pid()";

// PostgreSQL itself, past whatever is tested.
export class Admin {
  #client = new pg.Client(process.env.INTEROP_ADMIN);
  #connected = this.#client.connect();

  async value(statement, ...parameters) {
    await this.#connected;
    const { rows } = await this.#client.query({ text: statement, values: parameters, rowMode: "array" });
    return rows[0]?.[0];
  }

  marks(mark) {
    return this.value("SELECT count(*)::int FROM notes WHERE mark = $1", mark);
  }

  // Ends a backend, and returns when it is gone.
  async kill(pid) {
    same(await this.value("SELECT pg_terminate_backend($1, 10000)", pid), true);
  }

  async waitUntilRolledBack() {
    await this.value("SELECT pg_advisory_lock($1)", KEY);
    await this.value("SELECT pg_advisory_unlock($1)", KEY);
  }

  async waitUntilItSleeps() {
    while (!(await this.value(SLEEPERS))) await this.value("SELECT pg_sleep(0.01)");
  }

  async nothingSleeps() {
    while (await this.value(SLEEPERS)) await this.value("SELECT pg_sleep(0.01)");
  }

  async end() {
    await this.#connected;
    await this.#client.end();
  }
}

export const admin = new Admin();

export function same(got, expected) {
  if (Buffer.isBuffer(got) && got.length > 1000) {
    if (!got.equals(expected)) throw new Error(`${got.length} bytes are not the ${expected.length} expected ones`);
    return;
  }
  deepStrictEqual(got, expected);
}

// Fails unless the promise is rejected with one of the SQLSTATEs; without any, unless it is rejected.
export async function rejects(promise, ...codes) {
  let error;
  try {
    await promise;
  } catch (rejected) {
    error = rejected;
  }
  if (error === undefined) throw new Error(`no error, expected ${codes}`);
  if (!(error instanceof Error)) throw new Error(`not an Error: ${error}`);
  const code = codeOf(error);
  if (codes.length && !codes.includes(code)) throw new Error(`SQLSTATE ${code}, expected ${codes}: ${error.stack}`);
  return error;
}

// Prisma keeps the driver's error inside of its own.
function codeOf(error) {
  const cause = error.meta?.driverAdapterError?.cause ?? error.cause ?? error;
  return cause.originalCode ?? cause.code;
}

export async function main(scenarios) {
  for (const [name, scenario] of Object.entries(scenarios)) {
    if (name.startsWith("leaked") && !LEAKY) continue;
    let detail = "";
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error("not done in 30 s")), 30000);
    });
    try {
      await Promise.race([scenario(), late]);
    } catch (error) {
      detail = error.stack ?? String(error);
    }
    clearTimeout(timer);
    console.log(JSON.stringify({ scenario: name, ok: !detail, detail }));
  }
  await admin.end();
}
