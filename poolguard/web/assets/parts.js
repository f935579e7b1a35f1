// Small pieces that every section is made of. Text only ever goes in as text: whatever a client calls itself stays a name.

/** An element with attributes and children; a child is a node or text. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

/** The same for SVG. */
export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Put *text* into *node*, unless it is there: a selection in it survives. */
export function say(node, text, className) {
  if (node.textContent !== text) node.textContent = text;
  if (className !== undefined && node.className !== className) node.className = className;
}

/** Seconds for people: 0.4 s, 12 s, 3 min 20 s, 2 h 5 min. */
export function age(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** `idle_in_transaction` as words. */
export const words = (name) => String(name ?? "").replaceAll("_", " ");

/** `1 server`, `2 servers`. */
export const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

/** A wall clock time in the reader's own zone. */
export const clock = (iso) => new Date(iso).toLocaleTimeString([], { hour12: false });

/**
 * Show *items* as the children of *parent*, one child for each *key*. What is there is kept and only brought up to date,
 * so that a button does not vanish below the finger. *make* returns {node, update(item)}.
 */
export function keep(parent, items, key, make) {
  parent.kept ??= new Map();
  const next = new Map();
  let before = null;
  for (const item of items) {
    const name = key(item);
    if (next.has(name)) continue;
    const known = parent.kept.get(name) ?? make(item);
    known.update?.(item);
    next.set(name, known);
    const place = before ? before.nextSibling : parent.firstChild;
    if (place !== known.node) parent.insertBefore(known.node, place);
    before = known.node;
  }
  for (const [name, known] of parent.kept) if (!next.has(name)) known.node.remove();
  parent.kept = next;
}

/**
 * Show *items* as a table below *parent*, or the sentence *none*. A column is {title, text(item), className(item)?}, or
 * {title, node(item)} for what is made once for each row.
 */
export function table(parent, columns, items, key, none) {
  if (!parent.rows) {
    parent.none = el("p", { class: "quiet" }, none);
    parent.rows = el("tbody");
    const heads = columns.map((column) => el("th", { scope: "col", class: column.className?.(null) }, column.title));
    parent.shown = el("table", {}, el("thead", {}, el("tr", {}, ...heads)), parent.rows);
    parent.replaceChildren(parent.none, parent.shown);
  }
  parent.none.hidden = items.length > 0;
  parent.shown.hidden = items.length === 0;
  keep(parent.rows, items, key, (first) => row(columns, first));
}

function row(columns, first) {
  const cells = columns.map((column) => el("td", { "data-title": column.title }, ...(column.node ? [column.node(first)] : [])));
  return {
    node: el("tr", {}, ...cells),
    update(item) {
      columns.forEach((column, at) => {
        if (column.text) say(cells[at], column.text(item), column.className?.(item) ?? "");
      });
    },
  };
}

/** For columns of numbers and ages. */
export const number = () => "number";
