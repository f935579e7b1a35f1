// Incidents, client processes, errors, leases: what has happened, and to whom.

import { age, clock, count, el, keep, number, table, words } from "./parts.js";
import { who } from "./holders.js";

const SHOWN = 100;
const NAMED = 5;
const GOOD = ["done", "observed"];
const KINDS = { starvation: "waited in vain", deadlock: "deadlock", lease: "lease released by force" };
let incidents = [];

/** Take *more*, newest first, in front of those that are known. */
export function addIncidents(more) {
  const known = new Set(incidents.map((one) => one.id));
  incidents = [...more.filter((one) => !known.has(one.id)), ...incidents].slice(0, SHOWN);
  const place = document.getElementById("incident-list");
  place.none ??= place.appendChild(el("p", { class: "quiet" }, "Nothing has happened since poolguard started."));
  place.list ??= place.appendChild(el("div"));
  place.none.hidden = incidents.length > 0;
  keep(place.list, incidents, (one) => one.id, incident);
  return incidents;
}

function incident(one) {
  const party = one.transaction ?? one.holders[0];
  const statement = party?.fingerprints?.at(-1)?.text ?? "";
  const summary = el(
    "summary",
    {},
    el("span", { class: "when" }, clock(one.time)),
    el("b", { class: GOOD.includes(one.outcome) ? "warn" : "bad" }, title(one)),
    ` ${sentence(one, party)} `,
    el("span", { class: "sql" }, statement),
  );
  return { node: el("details", {}, summary, details(one, party)) };
}

function title(one) {
  const outcome = one.outcome === "done" ? "" : ` (${words(one.outcome)})`;
  const hand = one.kind === "by_hand" ? " by hand" : "";
  return `${KINDS[one.kind] ?? `${words(one.action)}${hand}`}${one.kind === "starvation" ? "" : outcome}`;
}

function sentence(one, party) {
  if (one.kind === "starvation") {
    const more = one.repeats ? `, ${one.repeats} more just before` : "";
    const held = party ? `; held longest by ${who(party)}, ${words(party.phase)} for ${age(party.phase_seconds)}` : "";
    return `pool ${one.pool}: ${one.waiter || "a client"} waited ${age(one.waited_seconds)}${more}${held}:`;
  }
  if (one.term) return `${one.term.lease}, held by ${one.term.holder}${one.reason ? `: ${one.reason}` : ""}`;
  const where = one.kind === "foreign" ? "not poolguard's" : `pool ${one.pool}`;
  if (!party) return where;
  const rule = one.rule ? `, rule ${one.rule}` : "";
  return `${where}: ${who(party)}, ${words(party.phase)} for ${age(party.phase_seconds)}${rule}:`;
}

function details(one, party) {
  const facts = [
    ["advice", one.advice],
    ["what it looks like", words(one.classification)],
    ["id", one.id],
    ["done by", one.actor],
    ["term", one.term && `token ${one.term.token}, would still have run for ${age(one.term.ran_on_seconds)}`],
    ["transaction", party && `${party.id}, backend ${party.backend_pid}, ${party.client_address}, user ${party.user}`],
    ["ages", party && `transaction ${age(party.transaction_seconds)}, server held ${age(party.checkout_seconds)}, ${count(party.statements, "statement")}`],
    ["route", party && Object.entries(party.tags).map(([key, value]) => `${key}=${value}`).join(" ")],
    ["threshold", one.threshold && `${age(one.threshold.limit_seconds)}; found ${age(one.threshold.actual_seconds)}`],
    ["spared by", one.spared_by],
    ["it blocked", party?.blocking ? `${count(party.blocking, "session")}, the longest for ${age(party.blocking_seconds)}${hurt(one)}` : ""],
    ["holders", ["action", "foreign"].includes(one.kind) ? "" : one.holders.map((other) => `${other.id} ${who(other)}, ${words(other.phase)} for ${age(other.phase_seconds)}`).join("; ")],
    ["the client sees", one.client_sees && `${one.client_sees.severity} ${one.client_sees.sqlstate}, ${one.client_sees.when}`],
    ["before", one.timeline.map((step) => `${clock(step.time)} ${step.action} (${words(step.outcome)})`).join("; ")],
  ];
  const list = el("dl");
  for (const [name, value] of facts) if (value) list.append(el("dt", {}, name), el("dd", {}, value));
  const parts = [list];
  if (party?.fingerprints?.length) parts.push(el("pre", {}, party.fingerprints.map((one) => one.text).join("\n")));
  if (one.exemption) parts.push(el("p", { class: "quiet" }, "If this should have been left alone, paste:"), el("pre", {}, one.exemption));
  return el("div", {}, ...parts);
}

function hurt(one) {
  const names = one.lock_tree?.blocked.slice(0, NAMED).map((each) => `${each.application_name ?? "?"} (${each.transaction ?? `pid ${each.pid}`})`);
  return names?.length ? `: ${names.join(", ")}` : "";
}

const CLIENTS = [
  { title: "Application", text: (one) => one.application_name || "(no application_name)" },
  { title: "Where", text: (one) => `${one.host}, user ${one.user}` },
  { title: "Pools", text: (one) => one.pools.join(", ") },
  { title: "Connections", text: (one) => `${one.sessions} (most ever ${one.most_sessions})`, className: number },
  { title: "Busy", text: (one) => `${one.busy}`, className: number },
  {
    title: "All busy for",
    text: (one) => (one.full_seconds ? age(one.full_seconds) : "-"),
    className: (one) => (one && one.full_seconds >= 10 ? "number bad" : "number"),
  },
  {
    title: "Slots lost to leaks",
    text: (one) => `${one.leaked_slots}`,
    className: (one) => (one?.leaked_slots ? "number bad" : "number"),
  },
];

/** Bring the table up to date with *answer*, of `/v1/clients`. */
export function showClients(answer) {
  const key = (one) => JSON.stringify([one.application_name, one.user, one.host]);
  table(document.getElementById("client-table"), CLIENTS, answer.clients, key, "No client is connected.");
}

const PAIRS = [
  { title: "Deadlocks", text: (one) => `${one.total}`, className: number },
  { title: "One statement", text: (one) => one.statements[0].text ?? one.statements[0].fingerprint, className: () => "sql" },
  { title: "The other", text: (one) => one.statements[1].text ?? one.statements[1].fingerprint, className: () => "sql" },
];
const DUPLICATES = [
  { title: "Duplicate keys", text: (one) => `${one.total}`, className: number },
  { title: "Pool", text: (one) => one.pool },
  { title: "Table", text: (one) => one.table, className: () => "sql" },
  { title: "Constraint", text: (one) => one.constraint, className: () => "sql" },
];

/** Bring both tables up to date with *answer*, of `/v1/errors`. */
export function showErrors(answer) {
  const place = document.getElementById("error-tables");
  place.pairs ??= place.appendChild(el("div"));
  place.duplicates ??= place.appendChild(el("div"));
  const pair = (one) => one.statements.map((statement) => statement.fingerprint).join(" ");
  table(place.pairs, PAIRS, answer.deadlock_pairs, pair, "No deadlock since poolguard started.");
  const key = (one) => JSON.stringify([one.pool, one.table, one.constraint]);
  table(place.duplicates, DUPLICATES, answer.duplicate_keys, key, "No duplicate key since poolguard started.");
}

const LEASES = [
  { title: "Lease", text: (one) => one.name },
  { title: "Holder", text: (one) => one.holderIdentity ?? "nobody", className: (one) => (one && !one.holderIdentity ? "warn" : "") },
  { title: "Valid for", text: (one) => (one.holderIdentity ? age(one.validForMs / 1000) : "-"), className: number },
  { title: "Since", text: (one) => (one.holderIdentity && one.acquireTime ? clock(one.acquireTime) : "-"), className: number },
  { title: "Token", text: (one) => `${one.token}`, className: number },
  { title: "Terms", text: (one) => `${one.leaseTransitions}`, className: number },
  { title: "", text: (one) => (one.stepDownRequested ? "asked to step down" : ""), className: () => "warn" },
];

/** Bring the table up to date with *answer*, of `/v1/leases`; null: leases can't be read now. */
export function showLeases(answer, why) {
  const place = document.getElementById("lease-table");
  place.why ??= place.appendChild(el("p", { class: "warn" }));
  place.rest ??= place.appendChild(el("div"));
  place.why.textContent = answer ? "" : why;
  place.why.hidden = Boolean(answer);
  place.rest.hidden = !answer;
  if (answer) table(place.rest, LEASES, answer.leases, (one) => one.name, "There is no lease.");
}
