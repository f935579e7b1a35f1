// A chat service on Prisma with a pool of MAX connections. It stores messages as they come in; and, when a phone connects,
// it tells a webhook of it inside of a transaction. The webhook never answers.

import { PrismaPg } from "@prisma/adapter-pg";
import { PrismaClient } from "@prisma/client";
import { queryTags, withQueryTags } from "@prisma/sqlcommenter-query-tags";
import { tell, toldToGoOn } from "./told.mjs";

const MAX = Number(process.env.MAX);
const LEAKS = Number(process.env.LEAKS);
const MESSAGES = Number(process.env.MESSAGES);

// Prisma's pool waits 10 s by default up to version 6, for ever since; nobody needs to watch that.
const waits = Number(process.env.WAIT_MILLISECONDS);
const adapter = new PrismaPg({ connectionString: process.env.DATABASE_URL, max: MAX, connectionTimeoutMillis: waits });
const prisma = new PrismaClient({ adapter, comments: [queryTags()] });

const webhookThatNeverAnswers = () => new Promise(() => {});

// Resolves when the transaction holds its row.
function phoneConnects(name) {
  return new Promise((inside, failed) => {
    withQueryTags({ route: "/instance/connect" }, () =>
      prisma.$transaction(
        async (tx) => {
          await tx.instance.update({ where: { name }, data: { status: "connecting" } });
          inside();
          await webhookThatNeverAnswers();
        },
        { timeout: 3_600_000, maxWait: 10_000 },
      ),
    ).catch(failed);
  });
}

async function messagesComeIn(prefix) {
  const messages = Array.from({ length: MESSAGES }, (_, n) =>
    withQueryTags({ route: "messages.upsert" }, () =>
      prisma.message.create({ data: { key: `${prefix}/${n}`, chat: prefix, timestamp: n, status: "SENT" } }),
    ),
  );
  const errors = (await Promise.allSettled(messages)).filter(({ reason }) => reason).map(({ reason }) => reason);
  return { came: MESSAGES, lost: errors.length, errors: [...new Set(errors.map(({ message }) => message))].slice(0, 3) };
}

tell("before", await messagesComeIn(`${process.env.PREFIX}-before`));
for (let n = 0; n < LEAKS; n++) await phoneConnects(`phone-${n}`);
tell("leaked");
await toldToGoOn();
tell("after", await messagesComeIn(`${process.env.PREFIX}-after`));
await toldToGoOn();
process.exit(0);
