// Write only as the holder of a lease: node fence_prisma.mjs NAME TOKEN, with PostgreSQL in DATABASE_URL. Prisma 7.

import { PrismaPg } from "@prisma/adapter-pg";
import { PrismaClient } from "@prisma/client";

const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL }) });

async function write(name, token) {
  await prisma.$transaction(async (tx) => {
    // First of all: throws unless this very term still runs, and keeps the next holder out until COMMIT.
    // Tokens are below 2^53: a number from JSON holds one exactly, and PostgreSQL wants a bigint.
    await tx.$queryRaw`SELECT poolguard.holds(${name}, ${BigInt(token)})`;
    await tx.$executeRaw`INSERT INTO fenced VALUES (${name}, ${BigInt(token)})`;
  });
}

const [name, token] = process.argv.slice(2);
try {
  await write(name, token);
} catch (error) {
  // P2010: a raw query failed; what PostgreSQL said of it stands in meta.
  const cause = error.meta?.driverAdapterError?.cause;
  if (cause?.originalCode !== "55000") throw error;
  console.error(`not the holder any more: ${cause.originalMessage}`);
  process.exitCode = 1;
} finally {
  await prisma.$disconnect();
}
