// Web analytics on Prisma, as umami was built: each page view looks for its visitor's session, and makes it if there is none.
// A visitor's first page asks three times at once, and each of the three finds none.

import { PrismaPg } from "@prisma/adapter-pg";
import { PrismaClient } from "@prisma/client";
import { queryTags, withQueryTags } from "@prisma/sqlcommenter-query-tags";
import { createHash } from "node:crypto";
import pg from "pg";
import { codeOf, meeting, tell } from "./told.mjs";

const VISITORS = Number(process.env.VISITORS);
const VIEWS = Number(process.env.VIEWS);

const adapter = new PrismaPg({ connectionString: process.env.DATABASE_URL, max: 60 });
const prisma = new PrismaClient({ adapter, comments: [queryTags()] });

// The visitor's id is made of what is known of it, so everybody comes to the same one.
function sessionOf(visitor) {
  const hash = createHash("sha256").update(visitor).digest("hex");
  return [8, 4, 4, 4, 12].map((length, n, all) => hash.substr(all.slice(0, n).reduce((a, b) => a + b, 0), length)).join("-");
}

async function byCreate(id, all) {
  const found = await prisma.session.findUnique({ where: { id } });
  await all();
  if (!found) await prisma.session.create({ data: { id, website: "shop" } });
}

// What umami does today.
async function byCreateUnlessThere(id, all) {
  await all();
  await prisma.session.createMany({ data: [{ id, website: "shop" }], skipDuplicates: true });
}

async function pageViews(prefix, make) {
  const all = meeting(VISITORS * VIEWS);
  const views = Array.from({ length: VISITORS * VIEWS }, (_, n) =>
    withQueryTags({ route: "/api/send" }, () => make(sessionOf(`${prefix}${n % VISITORS}`), all)),
  );
  const errors = (await Promise.allSettled(views)).filter(({ reason }) => reason).map(({ reason }) => reason);
  const distinct = (of) => [...new Set(errors.map(of))];
  return { views: views.length, failed: errors.length, codes: distinct(codeOf), prisma: distinct(({ code }) => code) };
}

// Every field of the driver's error.
async function refusal(url) {
  const client = new pg.Client(url);
  await client.connect();
  const insert = { text: "INSERT INTO session (id, website) VALUES ($1, 'shop')", values: [sessionOf("first")] };
  const error = await client.query(insert).then(() => null, (error) => error);
  await client.end();
  return { message: error.message, ...error };
}

await prisma.session.create({ data: { id: sessionOf("first"), website: "shop" } });
tell("refused", { direct: await refusal(process.env.INTEROP_ADMIN), through: await refusal(process.env.DATABASE_URL) });
tell("created", await pageViews("a", byCreate));
tell("created unless there", await pageViews("b", byCreateUnlessThere));
process.exit(0);
