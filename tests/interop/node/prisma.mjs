// Prisma 7 with @prisma/adapter-pg, as the README shows it: its own pool is larger than poolguard's, and waits longer.

import { PrismaPg } from "@prisma/adapter-pg";
import { PrismaClient } from "@prisma/client";
import { admin, LARGE, LEAK, LEAKY, main, MANY, rejects, ROWS, same, TARGET } from "./report.mjs";

async function withPrisma(url, use, options = {}) {
  const adapter = new PrismaPg({ connectionString: url, max: 20, connectionTimeoutMillis: 15000, ...options });
  const prisma = new PrismaClient({ adapter });
  try {
    await use(prisma);
  } finally {
    await prisma.$disconnect();
  }
}

async function transactions() {
  await withPrisma(TARGET, async (prisma) => {
    await prisma.$transaction([
      prisma.note.create({ data: { mark: "kept" } }),
      prisma.note.createMany({ data: [{ mark: "kept" }, { mark: "kept", number: 7 }] }),
    ]);
    await prisma.$transaction(
      async (tx) => {
        const note = await tx.note.findFirstOrThrow({ where: { mark: "kept", number: 7 } });
        await tx.note.update({ where: { id: note.id }, data: { number: { increment: 1 } } });
      },
      { isolationLevel: "Serializable" },
    );
    await rejects(
      prisma.$transaction(async (tx) => {
        await tx.note.create({ data: { mark: "undone" } });
        await tx.$queryRaw`SELECT 1/0`;
      }),
    );
    same((await prisma.note.findMany({ where: { number: 8 } })).length, 1);
    same(await prisma.note.count({ where: { mark: "kept" } }), 3);
  });
  same([await admin.marks("kept"), await admin.marks("undone")], [3, 0]);
}

// Unnamed statements, and named ones where the adapter is told to prepare.
async function prepared() {
  const named = { statementNameGenerator: ({ sql }) => Buffer.from(sql).toString("base64").slice(-60) };
  for (const options of [{}, named]) {
    const adapter = new PrismaPg({ connectionString: TARGET, max: 3 }, options);
    const prisma = new PrismaClient({ adapter });
    for (let round = 0; round < 2; round++) {
      const all = Array.from({ length: MANY }, (_, n) => prisma.$queryRawUnsafe(`SELECT $1::int + ${n} AS v`, n));
      same((await Promise.all(all)).map(([row]) => row.v), Array.from({ length: MANY }, (_, n) => 2 * n));
    }
    await prisma.$disconnect();
  }
}

async function large() {
  await withPrisma(TARGET, async (prisma) => {
    const mark = "x".repeat(LARGE);
    const { id } = await prisma.note.create({ data: { mark } });
    same((await prisma.note.findUniqueOrThrow({ where: { id } })).mark.length, LARGE);
    await prisma.note.delete({ where: { id } });
    const rows = await prisma.$queryRaw`SELECT n, repeat('x', 100) FROM generate_series(1, ${ROWS}::int) n`;
    same(rows.length, ROWS);
  });
}

async function reconnect() {
  await withPrisma(TARGET, async (prisma) => {
    await rejects(
      prisma.$transaction(async (tx) => {
        const [{ pid }] = await tx.$queryRaw`SELECT pg_backend_pid() AS pid`;
        await admin.kill(pid);
        await tx.note.count();
      }),
    );
    same(await prisma.$queryRaw`SELECT 1 AS v`, [{ v: 1 }]);
  });
}

async function crowd() {
  await withPrisma(TARGET, async (prisma) => {
    const one = async (mark) => {
      for (let n = 0; n < 10; n++) {
        const found = await prisma.$transaction(
          (tx) => tx.$queryRaw`SELECT ${`${mark}/${n}`}::text AS one, repeat(${String(mark)}::text, 500) AS two`,
          { maxWait: 15000, timeout: 15000 },
        );
        same(found, [{ one: `${mark}/${n}`, two: String(mark).repeat(500) }]);
      }
    };
    await Promise.all(Array.from({ length: 24 }, (_, mark) => one(mark)));
  });
}

async function leaked_then_statement() {
  await withPrisma(LEAKY, async (prisma) => {
    await rejects(
      prisma.$transaction(async (tx) => {
        await tx.$executeRawUnsafe(LEAK);
        await admin.waitUntilRolledBack();
        await rejects(tx.note.create({ data: { mark: "rest" } }), "25P03");
        await rejects(tx.note.create({ data: { mark: "rest" } }), "25P02");
        throw new Error("enough");
      }),
    );
    same(await prisma.$queryRaw`SELECT 1 AS v`, [{ v: 1 }]);
  });
  same([await admin.marks("leaked"), await admin.marks("rest")], [0, 0]);
}

async function leaked_then_commit() {
  await withPrisma(LEAKY, async (prisma) => {
    const leaked = prisma.$transaction(async (tx) => {
      await tx.$executeRawUnsafe(LEAK);
      await admin.waitUntilRolledBack();
    });
    await rejects(leaked, "25P03");
    same(await prisma.$queryRaw`SELECT 1 AS v`, [{ v: 1 }]);
  });
  same(await admin.marks("leaked"), 0);
}

// The callback looks at no error.
async function leaked_in_block() {
  await withPrisma(LEAKY, async (prisma) => {
    const leaked = prisma.$transaction(async (tx) => {
      await tx.$executeRawUnsafe(LEAK);
      await admin.waitUntilRolledBack();
      await Promise.allSettled([1, 2, 3].map(() => tx.note.create({ data: { mark: "rest" } })));
    });
    await rejects(leaked);
    await prisma.note.create({ data: { mark: "after" } });
  });
  same([await admin.marks("leaked"), await admin.marks("rest"), await admin.marks("after")], [0, 0, 1]);
}

await main({
  transactions,
  prepared,
  large,
  reconnect,
  crowd,
  leaked_then_statement,
  leaked_then_commit,
  leaked_in_block,
});
