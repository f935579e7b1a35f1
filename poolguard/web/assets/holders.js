// Who holds servers, and who waits for whose lock: with what can be done to each.

import { act } from "./act.js";
import { age, count, el, keep, number, say, table, words } from "./parts.js";

const IDLE = ["idle_in_transaction", "failed_transaction"];

/** Which application it is, and where it is. */
export const who = (one) => one.application_name || `user ${one.user || "unknown"}`;

const tags = (given) => Object.entries(given ?? {}).map(([key, value]) => `${key}=${value}`).join(" ");

const HOLDERS = [
  { title: "Held for", text: (one) => age(one.checkout_seconds), className: number },
  { title: "Pool", text: (one) => one.pool },
  { title: "Client", text: (one) => `${who(one)} (${one.client_address})` },
  {
    title: "State",
    text: (one) => `${words(one.state)} for ${age(one.state_seconds)}${one.pin ? `, pinned: ${words(one.pin)}` : ""}`,
    className: (one) => (one && IDLE.includes(one.state) && one.state_seconds >= 5 ? "bad" : ""),
  },
  { title: "Statement", text: (one) => one.statement?.text ?? "", className: () => "sql" },
  { title: "Tags", text: (one) => tags(one.tags), className: () => "tags sql" },
  { title: "", node: buttons },
];

/** Bring the table up to date with *answer*, of `/v1/transactions`. */
export function showHolders(answer) {
  table(document.getElementById("holder-table"), HOLDERS, answer.transactions, (one) => one.id, "No server is held.");
}

function buttons(one) {
  const button = (action, title) => {
    const made = el("button", { type: "button", title }, action);
    made.addEventListener("click", () => act(one, action));
    return made;
  };
  return el(
    "div",
    { class: "hands" },
    button("cancel", "End the running statement; the transaction stays, in error"),
    button("rollback", "End the transaction, keep the session; only while no statement runs"),
    button("terminate", "Close the client's session and its server"),
  );
}

/** Bring the trees up to date with *answer*, of `/v1/locks`. */
export function showLocks(answer) {
  const place = document.getElementById("lock-trees");
  place.said ??= place.appendChild(el("p", { class: "quiet" }));
  place.trees ??= place.appendChild(el("div"));
  say(place.said, lockSentence(answer), answer.connected && answer.waiters ? "bad" : "quiet");
  keep(place.trees, answer.trees, (one) => `${one.root.pid}/${one.root.gid}/${one.root.transaction}`, tree);
}

function lockSentence(answer) {
  if (!answer.connected) return "Nothing is known of locks: the observer is switched off, or can't reach PostgreSQL.";
  if (!answer.waiters) return "Nobody waits for a lock.";
  const cycles = answer.cycles.length ? ` ${count(answer.cycles.length, "deadlock")} in formation.` : "";
  return `${count(answer.waiters, "backend")} waiting, the longest for ${age(answer.longest_seconds)}.${cycles}`;
}

function backend(one) {
  if (one.gid) return `prepared transaction ${one.gid}`;
  const names = [one.application_name, one.user && `user ${one.user}`, one.pool && `pool ${one.pool}`].filter(Boolean);
  return `pid ${one.pid}${names.length ? ` (${names.join(", ")})` : ""}`;
}

function tree(first) {
  const head = el("p");
  const statement = el("p", { class: "sql" });
  const advice = el("p", { class: "quiet" });
  const blocked = el("ul");
  const hands = first.root.transaction ? buttons({ ...first.root, id: first.root.transaction }) : null;
  return {
    node: el("div", { class: "tree" }, head, statement, advice, hands, blocked),
    update(one) {
      say(head, `${backend(one.root)}: ${words(one.class)}${one.root.state_seconds ? ` for ${age(one.root.state_seconds)}` : ""}, blocks ${one.waiters}, the longest for ${age(one.longest_seconds)}`);
      say(statement, one.root.statement?.text ?? "");
      say(advice, one.advice);
      keep(blocked, one.blocked, (other) => `${other.pid} ${other.depth}`, waiter);
    },
  };
}

function waiter(first) {
  const node = el("li", { class: `deep-${Math.min(first.depth, 4)}` });
  return {
    node,
    update(one) {
      const lock = `${one.lock_mode ?? "a lock"}${one.lock_on ? ` on ${one.lock_on}` : ""}`;
      say(node, `${backend(one)} waits ${age(one.waits_seconds)} for ${lock}${one.statement ? `: ${one.statement.text}` : ""}`);
    },
  };
}
