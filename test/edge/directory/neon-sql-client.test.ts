/** What the edge's database client makes of a gateway that does not answer as it should. */
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { ParleyError } from "../../../core/errors/parley-error.ts";
import { NeonSqlClient } from "../../../edge/directory/neon-sql-client.ts";

const connectionString = "postgresql://user:a-very-secret-word@db.example/parley";

describe("NeonSqlClient", () => {
  let server: Server | undefined;
  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
  });

  const serve = async (listener: RequestListener) => {
    server = createServer(listener).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    return new NeonSqlClient({
      connectionString,
      fetchEndpoint: `http://127.0.0.1:${port}/sql`,
      timeoutMs: 100,
    });
  };
  const failureOf = async (client: NeonSqlClient, signal?: AbortSignal) => {
    const error: unknown = await client.query("SELECT 1", [], signal).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (!(error instanceof ParleyError)) throw new Error(`not a ParleyError: ${error}`);
    return error;
  };
  const answer = (status: number, body: string) =>
    serve((_, response) => response.writeHead(status).end(body));

  it.each([
    ["fails", 500, "oops"],
    ["is overloaded", 503, "{}"],
    ["says that the database does not start", 400, '{"message":"console request failed","code":null}'],
    ["says that the database shuts down", 400, '{"message":"terminating","code":"57P01"}'],
    ["refuses the password", 400, '{"message":"password authentication failed","code":"28P01"}'],
    ["answers with something that is no JSON", 200, "<html>"],
  ])("is unavailable, to be tried again, when the gateway %s", async (_, status, body) => {
    const error = await failureOf(await answer(status, body));
    expect(error).toMatchObject({ code: "unavailable", retryable: true });
  });

  it("is internal when the database refuses the statement", async () => {
    const error = await failureOf(await answer(400, '{"message":"no such table","code":"42P01"}'));
    expect(error).toMatchObject({ code: "internal", retryable: false });
    expect(error.message).not.toContain("no such table");
  });

  it("is unavailable when nobody listens", async () => {
    const client = new NeonSqlClient({ connectionString, fetchEndpoint: "http://127.0.0.1:1/sql" });
    expect(await failureOf(client)).toMatchObject({ code: "unavailable" });
  });

  it("is unavailable when no answer comes in time", async () => {
    const client = await serve(() => undefined);
    expect(await failureOf(client)).toMatchObject({ code: "unavailable" });
  });

  it("ends the request when its caller goes away", async () => {
    const controller = new AbortController();
    let closed: Promise<void> | undefined;
    const client = await serve((_, response) => {
      closed = new Promise((resolve) => response.on("close", resolve));
      controller.abort();
    });
    expect(await failureOf(client, controller.signal)).toMatchObject({ code: "canceled" });
    await closed;
  });

  it.each([
    "",
    "db.example",
    "https://user:word@db.example/parley",
    "postgres://db.example/x",
    "postgres://u@h",
  ])("refuses %j as a connection string without repeating it", (text) => {
    const secret = text.replace("word", "a-very-secret-word");
    expect(() => new NeonSqlClient({ connectionString: secret })).toThrow(RangeError);
    try {
      new NeonSqlClient({ connectionString: secret });
    } catch (error) {
      expect(String(error)).not.toContain("a-very-secret-word");
    }
  });
});
