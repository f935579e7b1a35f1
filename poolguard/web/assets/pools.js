// Pools: a card each, with what its servers do, who waits, and the last two minutes.

import { age, count, el, keep, say, svg } from "./parts.js";

const KEPT = 120;
const history = new Map();

/** Bring the cards up to date with *pools*, as `/v1/pools` has them. Called once a second. */
export function showPools(pools) {
  for (const name of history.keys()) if (!pools.some((pool) => pool.name === name)) history.delete(name);
  keep(document.getElementById("pool-cards"), pools, (pool) => pool.name, card);
}

function card() {
  const name = el("b");
  const facts = el("span");
  const bar = svg("svg", { class: "bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img" });
  const servers = el("p");
  const waiting = el("p");
  const lanes = el("p", { class: "quiet" });
  const rates = el("p", { class: "quiet" });
  const trouble = el("p", { class: "bad" });
  const spark = svg("svg", { class: "spark", viewBox: `0 0 ${KEPT - 1} 24`, preserveAspectRatio: "none", role: "img" });
  const node = el("article", { class: "card" }, el("h3", {}, name, facts), bar, servers, waiting, lanes, rates, trouble, spark);
  return {
    node,
    update(pool) {
      const past = remember(pool);
      say(name, pool.name);
      say(facts, `${pool.mode}, policy ${pool.policy}`);
      node.classList.toggle("full", pool.waiting > 0);
      drawBar(bar, pool);
      say(servers, serversOf(pool));
      say(waiting, waitingOf(pool), pool.waiting ? "bad" : "quiet");
      say(lanes, lanesOf(pool), pool.lanes.some((lane) => lane.waiting && lane.mode === "enforce") ? "warn" : "quiet");
      say(rates, ratesOf(pool, past));
      say(trouble, pool.last_error ? `No server can be opened: ${pool.last_error}` : "");
      drawSpark(spark, past, pool);
    },
  };
}

function remember(pool) {
  const past = history.get(pool.name) ?? [];
  past.push({ at: performance.now(), held: pool.held, waiting: pool.waiting, checkouts: pool.checkouts_total });
  if (past.length > KEPT) past.shift();
  history.set(pool.name, past);
  return past;
}

function serversOf(pool) {
  const pinned = pool.pinned ? ` (${pool.pinned} pinned)` : "";
  const opening = pool.opening ? `, ${pool.opening} opening` : "";
  return `${pool.held} of ${pool.size} held${pinned}, ${pool.idle} idle${opening}; ${count(pool.sessions, "client connection")}`;
}

function waitingOf(pool) {
  return pool.waiting ? `${count(pool.waiting, "client")} waiting, the first for ${age(pool.oldest_wait_seconds)}` : "Nobody waits.";
}

function lanesOf(pool) {
  return pool.lanes
    .map((lane) => {
      const waiting = lane.waiting ? `, ${lane.waiting} waiting for up to ${age(lane.oldest_wait_seconds)}` : "";
      return `Lane ${lane.name}${lane.mode === "observe" ? " (observed)" : ""}: ${lane.in_flight} of ${lane.at_once}${waiting}.`;
    })
    .join(" ");
}

function ratesOf(pool, past) {
  const before = past.at(-Math.min(past.length, 6));
  const seconds = (past.at(-1).at - before.at) / 1000;
  const rate = seconds > 0 ? (pool.checkouts_total - before.checkouts) / seconds : 0;
  const vain = pool.wait_timeouts_total + pool.queue_full_total;
  return `${rate.toFixed(rate < 10 ? 1 : 0)} checkouts/s; ${count(vain, "wait")} in vain since the start`;
}

function drawBar(bar, pool) {
  const unit = 100 / Math.max(1, pool.size);
  const parts = [
    ["pinned", pool.pinned],
    ["held", pool.held - pool.pinned],
    ["opening", pool.opening],
  ];
  let x = 0;
  const drawn = [svg("rect", { class: "room", x: 0, y: 0, width: 100, height: 10 })];
  for (const [name, servers] of parts) {
    drawn.push(svg("rect", { class: name, x, y: 0, width: Math.max(0, servers * unit), height: 10 }));
    x += servers * unit;
  }
  bar.setAttribute("aria-label", serversOf(pool));
  bar.replaceChildren(...drawn);
}

function drawSpark(spark, past, pool) {
  const most = Math.max(pool.size, ...past.map((one) => one.waiting), 1);
  const line = (what) => past.map((one, at) => `${KEPT - past.length + at},${(23 - (22 * one[what]) / most).toFixed(1)}`).join(" ");
  spark.setAttribute("aria-label", `the last two minutes: held servers and waiting clients, at most ${most}`);
  spark.replaceChildren(
    svg("polyline", { class: "held", points: line("held") }),
    ...(past.some((one) => one.waiting) ? [svg("polyline", { class: "waiting", points: line("waiting") })] : []),
  );
}
