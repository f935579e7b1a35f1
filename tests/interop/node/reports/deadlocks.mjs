// A chat service on Prisma, as evolution-api is built: concurrent event handlers that write the same rows, each in the
// order in which its events arrived. Three of them meet in each of CHATS chats.

import { PrismaPg } from "@prisma/adapter-pg";
import { PrismaClient } from "@prisma/client";
import { queryTags, withQueryTags } from "@prisma/sqlcommenter-query-tags";
import pg from "pg";
import { codeOf, meeting, tell } from "./told.mjs";

const CHATS = Number(process.env.CHATS);
const PREFIX = process.env.PREFIX;

const adapter = new PrismaPg({ connectionString: process.env.DATABASE_URL, max: 30 });
const prisma = new PrismaClient({ adapter, comments: [queryTags()] });
const PATIENT = { maxWait: 20000, timeout: 20000 };

const admin = new pg.Client(process.env.INTEROP_ADMIN);
await admin.connect();

// Until so many statements of handlers wait for a lock.
async function waitUntilTheyHang(number) {
  const hanging = `SELECT count(*)::int AS n FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE%' AND datname = current_database()`;
  while ((await admin.query(hanging)).rows[0].n < number) await admin.query("SELECT pg_sleep(0.01)");
}

// "chats.update": everything up to here was read. One statement, no transaction; takes the rows as they lie.
function chatRead(chat) {
  return withQueryTags({ route: "chats.update" }, () =>
    prisma.message.updateMany({ where: { chat, timestamp: { lte: 2 } }, data: { status: "READ" } }),
  );
}

// "messages.update": the second message was delivered; then whose it was.
function messageDelivered(chat, first, second) {
  return withQueryTags({ route: "messages.update" }, () =>
    prisma.$transaction(async (tx) => {
      await tx.message.update({ where: { key: `${chat}/2` }, data: { status: "DELIVERY_ACK" } });
      await first();
      await second;
      await tx.contact.update({ where: { jid: chat }, data: { seen: { increment: 1 } } });
    }, PATIENT),
  );
}

// "contacts.upsert": the contact, then the message that it came with.
function contactSeen(chat, first, second) {
  return withQueryTags({ route: "contacts.upsert" }, () =>
    prisma.$transaction(async (tx) => {
      await tx.contact.upsert({ where: { jid: chat }, create: { jid: chat, name: chat }, update: { name: chat } });
      await first();
      await second;
      await tx.message.update({ where: { key: `${chat}/1` }, data: { status: "PLAYED" } });
    }, PATIENT),
  );
}

const chats = Array.from({ length: CHATS }, (_, n) => `${PREFIX}${n}`);
await prisma.contact.createMany({ data: chats.map((chat) => ({ jid: chat, name: "" })) });
await prisma.message.createMany({
  data: chats.flatMap((chat) => [1, 2].map((n) => ({ key: `${chat}/${n}`, chat, timestamp: n, status: "SENT" }))),
});

const inside = meeting(2 * CHATS + 1);
const gates = [];
const gate = () => new Promise((resolve) => gates.push(resolve));
const transactions = chats.flatMap((chat) => [
  messageDelivered(chat, inside, gate()),
  contactSeen(chat, inside, gate()),
]);
await inside();
const reads = chats.map(chatRead);
await waitUntilTheyHang(CHATS);
for (const open of gates) {
  open();
  // Queries of one turn of the loop get the tags of the first of them (Prisma 7.10).
  await new Promise(setImmediate);
}

const became = async (all) => {
  const ended = await Promise.allSettled(all);
  const errors = ended.filter(({ status }) => status === "rejected").map(({ reason }) => reason);
  return { done: ended.length - errors.length, codes: errors.map(codeOf), prisma: errors.map(({ code }) => code) };
};
const [read, rest] = await Promise.all([became(reads), became(transactions)]);
tell("ended", { reads: read, transactions: rest });
await admin.end();
await prisma.$disconnect();
process.exit(0);
