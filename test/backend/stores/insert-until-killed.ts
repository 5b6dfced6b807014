/**
 * A process for pglite-durability.test.ts to kill: opens the database in the directory given, inserts rows one
 * after another and prints the number of each once it is acknowledged.
 */
import { PgliteSqlClient } from "../../../backend/stores/pglite-sql-client.ts";

const [dataDirectory = "", mode = "strict"] = process.argv.slice(2);
const database = await PgliteSqlClient.open({
  dataDirectory,
  onEvent: (event) => console.error("event", event),
});
await database.query("CREATE TABLE IF NOT EXISTS numbers (number integer PRIMARY KEY, filler text)", []);
const [last] = await database.query<{ number: number | null }>(
  "SELECT max(number) AS number FROM numbers",
  [],
);
const client = mode === "relaxed" ? database.relaxed : database;
for (let number = (last?.number ?? 0) + 1; ; number++) {
  await client.query("INSERT INTO numbers VALUES ($1, repeat('x', 500))", [number]);
  process.stdout.write(`${number}\n`);
}
