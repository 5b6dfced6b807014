/** What the Neon endpoint guarantees over every executor: the protocol as Neon's own driver speaks it. */
import { type IncomingMessage, request } from "node:http";
import { neon, neonConfig } from "@neondatabase/serverless";
import { beforeAll, describe, expect, it } from "vitest";
import { neonEndpointAddress } from "../../../backend/stores/neon-endpoint.ts";

/** Where an endpoint under test is. */
export interface EndpointUnderTest {
  readonly port: number;
  readonly password: string;
}

interface RawAnswer {
  status: number | undefined;
  headers: IncomingMessage["headers"];
  body: { [key: string]: unknown };
}

/** @param endpoint the endpoint under test; asked for only inside tests */
export function neonEndpointContract(endpoint: () => EndpointUnderTest): void {
  const sql = () =>
    neon(neonEndpointAddress(endpoint().port, endpoint().password).connectionString, { fullResults: true });

  /** A request by hand, for what the driver would never send. */
  const post = (
    body: string | undefined,
    headers: { [name: string]: string } = {},
    { path = "/sql", method = "POST" } = {},
  ): Promise<RawAnswer> => {
    const { port, password } = endpoint();
    const { connectionString } = neonEndpointAddress(port, password);
    return new Promise((resolve, reject) => {
      const call = request(
        {
          host: "127.0.0.1",
          port,
          path,
          method,
          headers: {
            "neon-connection-string": connectionString,
            "neon-raw-text-output": "true",
            "neon-array-mode": "true",
            ...headers,
          },
        },
        async (response) => {
          let text = "";
          for await (const chunk of response.setEncoding("utf8")) text += chunk;
          resolve({
            status: response.statusCode,
            headers: response.headers,
            body: JSON.parse(text) as RawAnswer["body"],
          });
        },
      );
      call.on("error", reject);
      call.end(body);
    });
  };
  const select1 = JSON.stringify({ query: "SELECT 1 AS one" });

  describe("the Neon endpoint", () => {
    beforeAll(() => {
      const { fetchEndpoint } = neonEndpointAddress(endpoint().port, endpoint().password);
      neonConfig.fetchEndpoint = fetchEndpoint;
    });

    it("answers a query with rows, fields, command and count", async () => {
      const result = await sql().query("SELECT $1::int4 AS number, 'x'::text AS text", [7]);
      expect(result).toMatchObject({
        rows: [{ number: 7, text: "x" }],
        fields: [
          { name: "number", dataTypeID: 23, format: "text" },
          { name: "text", dataTypeID: 25, format: "text" },
        ],
        command: "SELECT",
        rowCount: 1,
      });
    });

    it("sends rows as arrays of raw text, or as objects when asked", async () => {
      const query = JSON.stringify({ query: "SELECT true AS yes, 1.50::numeric AS n, NULL AS nothing" });
      expect((await post(query)).body).toMatchObject({ rowAsArray: true, rows: [["t", "1.50", null]] });
      expect((await post(query, { "neon-array-mode": "false" })).body).toMatchObject({
        rowAsArray: false,
        rows: [{ yes: "t", n: "1.50", nothing: null }],
      });
    });

    it("takes numbers, booleans, arrays and objects as parameters, as Neon's gateway does", async () => {
      const query = "SELECT $1::int4 AS a, $2::bool AS b, $3::text[] AS c, $4::jsonb AS d, $5::int4[] AS e";
      const params = [1, true, ['quote " \\', null, "NULL"], { k: [1] }, [[1, 2]]];
      const { body } = await post(JSON.stringify({ query, params }));
      expect(body["rows"]).toEqual([["1", "t", '{"quote \\" \\\\",NULL,"NULL"}', '{"k": [1]}', "{{1,2}}"]]);
    });

    it("runs a batch in one transaction", async () => {
      const client = sql();
      const results = await client.transaction(
        [client`SELECT current_setting('transaction_isolation') AS level`, client`SELECT 2 AS two`],
        { isolationLevel: "Serializable" },
      );
      expect(results.map(({ rows }) => rows)).toEqual([[{ level: "serializable" }], [{ two: 2 }]]);
    });

    it("undoes a whole batch when one of its statements fails", async () => {
      const client = sql();
      await client`DROP TABLE IF EXISTS batch_rows`;
      await client`CREATE TABLE batch_rows (id int PRIMARY KEY)`;
      const batch = client.transaction([
        client`INSERT INTO batch_rows VALUES (1)`,
        client`INSERT INTO batch_rows VALUES (1)`,
      ]);
      await expect(batch).rejects.toMatchObject({
        code: "23505",
        constraint: "batch_rows_pkey",
        severity: "ERROR",
      });
      expect((await client`SELECT * FROM batch_rows`).rows).toEqual([]);
      await client.transaction([client`INSERT INTO batch_rows VALUES (1)`]);
      expect((await client`SELECT * FROM batch_rows`).rows).toEqual([{ id: 1 }]);
      await client`DROP TABLE batch_rows`;
    });

    it("refuses to write in a read-only batch", async () => {
      const client = sql();
      const batch = client.transaction([client`CREATE TABLE never (id int)`], { readOnly: true });
      await expect(batch).rejects.toMatchObject({ code: "25006" });
    });

    it("answers a refused statement with status 400 and every field of the error", async () => {
      const { status, body } = await post(JSON.stringify({ query: "SELECT * FROM no_such_table" }));
      expect(status).toBe(400);
      expect(body).toMatchObject({
        message: 'relation "no_such_table" does not exist',
        severity: "ERROR",
        code: "42P01",
        position: "15",
        detail: null,
        hint: null,
        constraint: null,
      });
    });

    it("leaves no transaction open behind a statement that began one", async () => {
      await sql().query("BEGIN");
      // Allowed only within a transaction.
      await expect(sql().query("SAVEPOINT inside")).rejects.toMatchObject({ code: "25P01" });
    });

    it.each([
      ["a wrong password", (right: string) => right.replace(/:[^:@]+@/, ":wrong-password-here@")],
      ["no password", (right: string) => right.replace(/:[^:@]+@/, "@")],
    ])("refuses %s as PostgreSQL would, without running anything", async (_, spoil) => {
      const { connectionString } = neonEndpointAddress(endpoint().port, endpoint().password);
      const { status, body } = await post(JSON.stringify({ query: "CREATE TABLE never (id int)" }), {
        "neon-connection-string": spoil(connectionString),
      });
      expect(status).toBe(400);
      expect(body).toMatchObject({
        code: "28P01",
        message: expect.stringContaining("password authentication"),
      });
      expect(JSON.stringify(body)).not.toContain(endpoint().password);
      const { rows } = await sql().query("SELECT to_regclass('never') IS NULL AS absent");
      expect(rows).toEqual([{ absent: true }]);
    });

    it.each([
      ["an unknown host", 403, select1, { host: "evil.example" }, {}],
      ["another path", 404, select1, {}, { path: "/" }],
      ["another method", 405, undefined, {}, { method: "GET" }],
      ["a body that is no JSON", 400, "{", {}, {}],
      ["a body that is no query", 400, JSON.stringify({ params: [] }), {}, {}],
      ["a missing connection string", 400, select1, { "neon-connection-string": "" }, {}],
      [
        "an isolation level that there is not",
        400,
        '{"queries":[]}',
        { "neon-batch-isolation-level": "X" },
        {},
      ],
      ["parsed output", 400, select1, { "neon-raw-text-output": "false" }, {}],
      ["a body over 33 MiB", 413, JSON.stringify({ query: "x".repeat(33 * 1024 * 1024) }), {}, {}],
    ])("refuses %s with status %i", async (_, status, body, headers, where) => {
      const answer = await post(body, headers as { [name: string]: string }, where);
      expect(answer.status).toBe(status);
      expect(answer.body).toMatchObject({ message: expect.any(String), code: null });
    });

    it("takes a body of just under 33 MiB, as of the largest document", async () => {
      const text = "x".repeat(33 * 1024 * 1024 - 200);
      const { status, body } = await post(
        JSON.stringify({ query: "SELECT length($1::text) AS length", params: [text] }),
      );
      expect([status, body["rows"]]).toEqual([200, [[String(text.length)]]]);
    });

    it("refuses a body over 33 MiB that does not say its length", async () => {
      const answer = await post(JSON.stringify({ query: "x".repeat(34 * 1024 * 1024) }), {
        "transfer-encoding": "chunked",
      });
      expect(answer.status).toBe(413);
    });

    it("keeps the connection open between requests", async () => {
      const { headers } = await post(select1);
      expect(headers.connection).toBe("keep-alive");
      expect(headers["keep-alive"]).toBe("timeout=75");
    });

    it("still answers after a hundred refused statements at once", async () => {
      const refusals = Array.from({ length: 100 }, () => sql().query("SELECT 1 / 0"));
      const settled = await Promise.allSettled(refusals);
      expect(settled.every(({ status }) => status === "rejected")).toBe(true);
      expect((await sql().query("SELECT 1 AS one")).rows).toEqual([{ one: 1 }]);
    });
  });
}
