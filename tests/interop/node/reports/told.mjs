// How a report's application tells what happens to it (a JSON line each), and waits until it is told to go on.

import { createInterface } from "node:readline";

export function tell(event, facts = {}) {
  console.log(JSON.stringify({ event, ...facts }));
}

const input = createInterface({ input: process.stdin });
const waiting = [];
input.on("line", () => waiting.shift()());
// Whoever plays us has gone, or wants us to.
input.on("close", () => process.exit(0));

export function toldToGoOn() {
  return new Promise((resolve) => waiting.push(resolve));
}

// Resolves when it was awaited by that many.
export function meeting(number) {
  let missing = number;
  let open;
  const all = new Promise((resolve) => (open = resolve));
  return () => {
    if (--missing === 0) open();
    return all;
  };
}

// The SQLSTATE that Prisma keeps inside of its own error.
export function codeOf(error) {
  const cause = error.meta?.driverAdapterError?.cause ?? error.cause ?? error;
  return cause.originalCode ?? cause.code ?? error.code;
}
