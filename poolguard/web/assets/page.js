// The page: what is streamed, what is asked for every few seconds, and the sentence at its top.

import { wantToken } from "./act.js";
import { showHolders, showLocks, who } from "./holders.js";
import { age, count, say, words } from "./parts.js";
import { showPools } from "./pools.js";
import { addIncidents, showClients, showErrors, showLeases } from "./records.js";

const LOOK_SECONDS = 2;
const SLOW_SECONDS = 10; // settings, and leases, which ask PostgreSQL
const SILENT_SECONDS = 5;
const part = (id) => document.getElementById(id);
const seen = { pools: [], transactions: [], locks: null, heardAt: 0 };

async function get(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  const body = await answer.json();
  if (!answer.ok) throw new Error([body.message, body.hint].filter(Boolean).join(". "));
  seen.heardAt = performance.now();
  return body;
}

async function look() {
  const [transactions, locks, clients, errors] = await Promise.all([
    get("v1/transactions?limit=50"),
    get("v1/locks"),
    get("v1/clients?limit=50"),
    get("v1/errors"),
  ]);
  seen.transactions = transactions.transactions;
  seen.locks = locks;
  showHolders(transactions);
  showLocks(locks);
  showClients(clients);
  showErrors(errors);
  mark("holders", transactions.total);
  mark("locks", locks.waiters, locks.waiters > 0);
  mark("clients", clients.total, clients.clients.some((client) => client.leaked_slots));
  mark("errors", errors.deadlock_pairs.length + errors.duplicate_keys.length);
  headline();
}

async function lookSlowly() {
  const settings = await get("v1/settings");
  wantToken(settings.admin_token_required);
  const warnings = settings.warnings.length ? ` Warnings: ${settings.warnings.join("; ")}.` : "";
  const refused = settings.last_refusal ? ` The latest reload was refused: ${settings.last_refusal}.` : "";
  say(part("settings"), `Settings ${settings.hash} from ${settings.source}.${warnings}${refused}`);
  if (!part("version").textContent) say(part("version"), (await get("./")).poolguard);
  try {
    const leases = await get("v1/leases");
    showLeases(leases);
    mark("leases", leases.leases.length);
  } catch (error) {
    showLeases(null, error.message === "Failed to fetch" ? "poolguard does not answer." : `Leases can't be read: ${error.message}.`);
  }
}

function mark(name, number, bad = false) {
  say(part(`count-${name}`), number ? String(number) : "", bad ? "bad" : "");
}

function headline() {
  const waiting = seen.pools.reduce((sum, pool) => sum + pool.waiting, 0);
  const down = seen.pools.filter((pool) => pool.last_error && !pool.idle && !pool.held);
  const oldest = seen.transactions[0];
  const holder = oldest ? ` Held longest by ${who(oldest)}: ${words(oldest.state)}, for ${age(oldest.checkout_seconds)}.` : "";
  if (down.length) say(part("headline"), `No server can be opened for ${down.map((pool) => pool.name).join(", ")}.`, "bad");
  else if (waiting) {
    const pools = seen.pools.filter((pool) => pool.waiting).map((pool) => pool.name).join(", ");
    say(part("headline"), `${count(waiting, "client")} waiting in ${pools}.${holder}`, "bad");
  } else if (seen.locks?.waiters) say(part("headline"), `Nobody waits for a server; ${count(seen.locks.waiters, "backend")} waiting for a lock.`, "warn");
  else if (seen.pools.length) say(part("headline"), "Nobody waits.", "well");
}

function linkState() {
  const silent = (performance.now() - seen.heardAt) / 1000;
  const lost = seen.heardAt > 0 && silent > SILENT_SECONDS && !document.hidden;
  document.body.classList.toggle("stale", lost);
  say(part("link"), lost ? `poolguard has not answered for ${age(silent)}: this is how it was.` : "live", lost ? "bad" : "quiet");
}

function follow() {
  const stream = new EventSource("v1/events");
  stream.addEventListener("pools", (event) => {
    seen.heardAt = performance.now();
    seen.pools = JSON.parse(event.data).pools;
    showPools(seen.pools);
    headline();
  });
  stream.addEventListener("incident", (event) => tellIncidents([JSON.parse(event.data)]));
  // Whatever was missed while the stream was away; the browser opens it again by itself, unless it was refused.
  stream.addEventListener("open", catchUp);
  stream.addEventListener("error", () => {
    if (stream.readyState === EventSource.CLOSED) setTimeout(follow, SLOW_SECONDS * 1000);
  });
  return stream;
}

async function catchUp() {
  const answer = await get("v1/incidents?limit=100").catch(() => null);
  if (answer) tellIncidents(answer.incidents);
}

function tellIncidents(more) {
  const all = addIncidents(more);
  mark("incidents", all.length);
}

function every(seconds, work) {
  let running = false;
  const turn = async () => {
    if (document.hidden || running) return; // a page that nobody looks at costs nothing
    running = true;
    await work().catch(() => null); // linkState tells of a poolguard that is away
    running = false;
  };
  turn();
  document.addEventListener("visibilitychange", turn);
  setInterval(turn, seconds * 1000);
}

follow();
every(LOOK_SECONDS, look);
every(SLOW_SECONDS, lookSlowly);
setInterval(linkState, 1000);
