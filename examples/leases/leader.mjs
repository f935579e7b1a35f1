// Leader election through poolguard with nothing but Node's own fetch (Node 18 or newer).
//
//   node leader.mjs scheduler pod-1
//
// It prints "leading TOKEN" when elected and "lost" when the lease is gone, and gives the lease back on SIGTERM.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

const TTL = 15_000;
const base = process.env.POOLGUARD_URL ?? "http://127.0.0.1:6433";

/** Ask poolguard; null: no answer, which is neither a yes nor a no. */
async function ask(method, path, body, within) {
  const sentAt = performance.now();
  try {
    const response = await fetch(base + path, {
      method,
      headers: { "Content-Type": "application/json" },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(Math.max(within, 50)),
    });
    const lease = response.status === 204 ? {} : await response.json();
    // On our own clock, from before the request was sent: a slow answer is no longer trust.
    return { status: response.status, lease, trustedUntil: sentAt + (lease.validForMs ?? 0) };
  } catch {
    return null;
  }
}

/** Sleep, or less if *signal* aborts. */
const nap = (ms, signal) => sleep(Math.max(ms, 50), undefined, { signal }).catch(() => {});

/** Stand for election until elected; null once *signal* aborts. */
async function acquire(name, holder, signal) {
  // The same id until its outcome is known: after a lost answer it finds the term that it got.
  let requestId = randomUUID();
  while (!signal.aborted) {
    const answer = await ask(
      "PUT",
      `/v1/leases/${name}`,
      { holderIdentity: holder, leaseDurationSeconds: TTL / 1000, requestId },
      5000,
    );
    let pause = 500; // poolguard is away, or can't tell
    if (answer?.status === 200 || answer?.status === 201) {
      if (performance.now() < answer.trustedUntil) return { token: answer.lease.token, trustedUntil: answer.trustedUntil };
      requestId = randomUUID();
    } else if (answer?.lease.error === "lease_lost") {
      requestId = randomUUID(); // this id has had its term
    } else if (answer?.status === 409) {
      pause = Math.min(1000, answer.lease.validForMs);
    } else if (answer && answer.status < 500) {
      throw new Error(`poolguard refuses: ${answer.status} ${answer.lease.error}`);
    }
    await nap(pause, signal);
  }
  return null;
}

/** Run *work* while the term is trusted: its signal aborts when trust ends, or when *signal* does. */
async function lead(name, holder, term, signal, work) {
  const trust = new AbortController();
  const stop = () => trust.abort();
  signal.addEventListener("abort", stop);
  // The end of trust needs no answer from anybody.
  let expiry = setTimeout(stop, term.trustedUntil - performance.now());
  const working = work(term.token, trust.signal);
  await nap(TTL / 3, trust.signal);
  while (!trust.signal.aborted) {
    const left = term.trustedUntil - performance.now();
    const body = { holderIdentity: holder, token: term.token };
    const answer = await ask("POST", `/v1/leases/${name}/renew`, body, Math.min(2000, left / 2));
    if (answer?.status === 200) {
      term.trustedUntil = answer.trustedUntil;
      clearTimeout(expiry);
      expiry = setTimeout(stop, term.trustedUntil - performance.now());
      await nap(TTL / 3, trust.signal);
    } else if (answer?.status === 409) {
      stop(); // lost: at once
    } else {
      await nap(Math.min(1000, (term.trustedUntil - performance.now()) / 4), trust.signal);
    }
  }
  clearTimeout(expiry);
  signal.removeEventListener("abort", stop);
  await working; // whatever the lease protects has ended before it is given back
  const query = new URLSearchParams({ holderIdentity: holder, token: String(term.token) });
  await ask("DELETE", `/v1/leases/${name}?${query}`, undefined, 2000);
}

const [name, holder] = process.argv.slice(2);
if (!holder) {
  console.error("usage: node leader.mjs NAME HOLDER");
  process.exit(2);
}
const ended = new AbortController();
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => ended.abort());

while (!ended.signal.aborted) {
  const term = await acquire(name, holder, ended.signal);
  if (term === null) break;
  await lead(name, holder, term, ended.signal, async (token, trusted) => {
    console.log(`leading ${token}`); // do the work here; send the token along to whatever you change
    await new Promise((done) => (trusted.aborted ? done() : trusted.addEventListener("abort", done)));
  });
  if (!ended.signal.aborted) console.log("lost");
}
