// Write only as the holder of a lease. PostgreSQL is where the Prisma schema says.
import { PrismaClient } from "@prisma/client";

const prisma = new PrismaClient();

export async function write(name: string, token: number): Promise<void> {
  await prisma.$transaction(async (tx) => {
    // First of all: throws unless this very term still runs, and keeps the next holder out until COMMIT.
    // Tokens are below 2^53, so a number holds them; Prisma sends it as bigint with the cast.
    await tx.$queryRaw`SELECT poolguard.holds(${name}, ${token}::bigint)`;
    await tx.$executeRaw`INSERT INTO fenced VALUES (${name}, ${token}::bigint)`;
  });
}
