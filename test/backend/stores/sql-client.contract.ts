/** What every SqlClient guarantees, whatever carries it. */
import { describe, expect, it } from "vitest";
import type { SqlClient } from "../../../core/directory/sql-client.ts";
import { ParleyError } from "../../../core/errors/parley-error.ts";

/** @param client the client under test; asked for only inside tests */
export function sqlClientContract(client: () => SqlClient): void {
  const failureOf = async (text: string, params: string[] = [], signal?: AbortSignal) => {
    const error: unknown = await client()
      .query(text, params, signal)
      .then(
        () => undefined,
        (reason: unknown) => reason,
      );
    if (!(error instanceof ParleyError)) throw new Error(`not a ParleyError: ${error}`);
    return error;
  };

  describe("SqlClient", () => {
    it("returns each type as its contract says", async () => {
      const [row] = await client().query(
        `SELECT true AS yes, 42::int4 AS int4, 9007199254740993::int8 AS int8, 1.5::float8 AS float8,
                '12.340'::numeric AS numeric, '{"a":[1,"b",null]}'::jsonb AS jsonb,
                '2026-11-22T10:20:30.123Z'::timestamptz AS at, ARRAY['a','b c'] AS texts,
                '6f1c2c5e-4a60-4a73-9a35-5c4fb1d34c3e'::uuid AS uuid, '\\x00ff10'::bytea AS bytes`,
        [],
      );
      expect(row).toMatchObject({
        yes: true,
        int4: 42,
        int8: "9007199254740993",
        float8: 1.5,
        numeric: "12.340",
        jsonb: { a: [1, "b", null] },
        at: new Date("2026-11-22T10:20:30.123Z"),
        texts: ["a", "b c"],
        uuid: "6f1c2c5e-4a60-4a73-9a35-5c4fb1d34c3e",
      });
      expect([...(row as { bytes: Uint8Array }).bytes]).toEqual([0x00, 0xff, 0x10]);
    });

    it("takes every kind of parameter", async () => {
      const [row] = await client().query(
        `SELECT $1::text AS text, $2::int4 AS int4, $3::bool AS bool, $4::text IS NULL AS nothing,
                $5::text[] AS texts, $6::jsonb AS jsonb, $7::timestamptz AS at, $8::float8 AS float8`,
        ["t", 7, false, null, ["x", "y"], '{"k":true}', "2026-01-02T03:04:05.678Z", 0.25],
      );
      expect(row).toEqual({
        text: "t",
        int4: 7,
        bool: false,
        nothing: true,
        texts: ["x", "y"],
        jsonb: { k: true },
        at: new Date("2026-01-02T03:04:05.678Z"),
        float8: 0.25,
      });
    });

    it("hands on hostile text in parameters unchanged, as text", async () => {
      const texts = [
        "'; DROP TABLE tenants; --",
        `"quoted" \\ back\\slash {braces, and commas} NULL`,
        "grüße 你好 👋🏽 \u202e \u0001",
        "",
        "NULL",
        "$1 $$ %s :name ?",
      ];
      for (const text of texts) {
        const [row] = await client().query("SELECT $1::text AS text, $2::text[] AS texts", [text, [text]]);
        expect(row).toEqual({ text, texts: [text] });
      }
      const [row] = await client().query("SELECT $1::text[] AS texts", [texts]);
      expect(row).toEqual({ texts });
    });

    it("returns NULL as null in every type", async () => {
      const [row] = await client().query(
        "SELECT NULL::text AS text, NULL::int4 AS int4, NULL::jsonb AS jsonb, NULL::timestamptz AS at, NULL::text[] AS texts",
        [],
      );
      expect(row).toEqual({ text: null, int4: null, jsonb: null, at: null, texts: null });
    });

    it("returns no rows for a statement that has none", async () => {
      expect(await client().query("SELECT 1 AS one WHERE false", [])).toEqual([]);
      expect(await client().query("SET timezone TO 'UTC'", [])).toEqual([]);
    });

    it("carries a megabyte both ways", async () => {
      const text = "é".repeat(500_000);
      expect(await client().query("SELECT $1::text AS text", [text])).toEqual([{ text }]);
    });

    it("answers concurrent queries each with its own rows", async () => {
      const numbers = Array.from({ length: 50 }, (_, number) => number);
      const answers = await Promise.all(
        numbers.map((number) => client().query("SELECT $1::int4 AS number", [number])),
      );
      expect(answers).toEqual(numbers.map((number) => [{ number }]));
    });

    it.each([
      ["an unknown table", "SELECT * FROM no_such_table", [], "42P01"],
      ["a syntax error", "SELEC 1", [], "42601"],
      ["a failing expression", "SELECT 1 / 0", [], "22012"],
      ["a value of the wrong type", "SELECT $1::int4", ["one"], "22P02"],
      ["too many parameters", "SELECT 1", ["extra"], "08P01"],
      ["several statements in one", "SELECT 1; SELECT 2", [], "42601"],
    ])(
      "refuses %s as an internal error, with the particulars in the cause only",
      async (_, text, params, code) => {
        const error = await failureOf(text, params);
        expect(error).toMatchObject({ code: "internal", retryable: false });
        expect(error.message).toBe("internal error: the database refused a statement");
        const cause = error.cause as { code?: string; fields?: { code?: string } };
        expect(cause.fields?.code ?? cause.code).toBe(code);
      },
    );

    it("goes on after a statement was refused", async () => {
      await failureOf("SELECT 1 / 0");
      expect(await client().query("SELECT 1 AS one", [])).toEqual([{ one: 1 }]);
    });

    it("ends the wait as canceled when its signal aborts, before or while it waits", async () => {
      expect(await failureOf("SELECT 1", [], AbortSignal.abort())).toMatchObject({ code: "canceled" });
      const controller = new AbortController();
      const failure = failureOf("SELECT pg_sleep(0.5)", [], controller.signal);
      controller.abort();
      expect(await failure).toMatchObject({ code: "canceled", retryable: false });
      expect(await client().query("SELECT 1 AS one", [])).toEqual([{ one: 1 }]);
    });

    it("ends the wait as unavailable when its signal is a timeout", async () => {
      const failure = await failureOf("SELECT pg_sleep(0.5)", [], AbortSignal.timeout(20));
      expect(failure).toMatchObject({ code: "unavailable", retryable: true });
    });

    it("rejects with a ParleyError of the signal as it is", async () => {
      const reason = new ParleyError("deadline_exceeded", "too late");
      expect(await failureOf("SELECT 1", [], AbortSignal.abort(reason))).toBe(reason);
    });
  });
}
