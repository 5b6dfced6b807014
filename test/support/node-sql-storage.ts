/** A Durable Object's SQL storage on Node's own SQLite, for tests of what is kept in it. */
import { DatabaseSync } from "node:sqlite";
import type { SqlStorage } from "@cloudflare/workers-types";

/** An empty database in memory. */
export function nodeSqlStorage(): SqlStorage {
  const database = new DatabaseSync(":memory:");
  const exec = (query: string, ...values: (string | number | null)[]) => {
    const isScript = values.length === 0 && query.includes(";");
    if (isScript) database.exec(query);
    const rows = isScript ? [] : database.prepare(query).all(...values);
    const one = () => {
      if (rows.length !== 1) throw new Error(`expected one row, there are ${rows.length}`);
      return rows[0];
    };
    return { toArray: () => rows, one, [Symbol.iterator]: () => rows[Symbol.iterator]() };
  };
  return { exec } as unknown as SqlStorage;
}
