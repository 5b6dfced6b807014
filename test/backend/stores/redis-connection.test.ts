/** The connection to a real Redis: what callers wait for when it stands still, dies, or comes back empty. */
import { afterEach, describe, expect, it } from "vitest";
import { RedisConnection, type RedisEvent } from "../../../backend/stores/redis-connection.ts";
import { RedisScript } from "../../../backend/stores/redis-script.ts";
import { type RedisOptions, startRedis, type TestRedis } from "../../support/redis.ts";
import { requirement } from "../../support/requirements.ts";

const SOON = { timeout: 10_000 };
const echo = new RedisScript("return {ARGV[1], KEYS[1]}");

describe.skipIf(!requirement("redis").available)("a connection to Redis", () => {
  const servers: TestRedis[] = [];
  const connections: RedisConnection[] = [];

  async function start(options?: RedisOptions): Promise<TestRedis> {
    const server = await startRedis(options);
    servers.push(server);
    return server;
  }

  function connect(url: string) {
    const events: RedisEvent["state"][] = [];
    const connection = new RedisConnection({
      url,
      name: "parley-test",
      random: Math.random,
      onEvent: ({ state }) => events.push(state),
    });
    connections.push(connection);
    return { connection, events, ready: () => connection.ready(AbortSignal.timeout(10_000)) };
  }

  afterEach(async () => {
    for (const connection of connections.splice(0)) connection.close();
    await Promise.all(servers.splice(0).map((server) => server.stop()));
  });

  it("runs commands, and scripts that the server has not seen yet", async () => {
    const { connection, ready } = connect((await start()).url);
    await ready();
    expect(await connection.run((redis) => redis.ping())).toBe("PONG");
    expect(await connection.script(echo, ["k"], ["ä"])).toEqual(["ä", "k"]);
    expect(await connection.script(echo, ["k"], ["again"])).toEqual(["again", "k"]);
    expect(await connection.scriptBuffer(echo, ["k"], [Buffer.from([0xff])])).toEqual([
      Buffer.from([0xff]),
      Buffer.from("k"),
    ]);
  });

  it("lets only the first commands wait for a server that stands still, and comes back with it", async () => {
    const server = await start();
    const { connection, events, ready } = connect(server.url);
    await ready();
    server.process.kill("SIGSTOP");
    const first = await Promise.allSettled([1, 2, 3].map(() => connection.run((redis) => redis.ping())));
    expect(first.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    expect(connection.isReady).toBe(false);

    const later = Array.from({ length: 200 }, () => connection.run((redis) => redis.ping()));
    const outcomes = Promise.allSettled(later);
    await Promise.resolve();
    expect(await Promise.race([outcomes, turnsOfTheLoop(5)])).toHaveLength(200);

    server.process.kill("SIGCONT");
    await ready();
    expect(await connection.run((redis) => redis.ping())).toBe("PONG");
    expect(events).toEqual(["ready", "failing", "ready"]);
  });

  it("says `unavailable`, retryable, and keeps the cause to the log", async () => {
    const { connection } = connect("redis://127.0.0.1:9");
    await expect
      .poll(() => connection.run((redis) => redis.ping()).catch((error) => error), SOON)
      .toMatchObject({
        code: "unavailable",
        retryable: true,
        message: "Redis does not answer",
        cause: expect.objectContaining({ code: "ECONNREFUSED" }),
      });
  });

  it("says `internal` when Redis refuses a command, and goes on", async () => {
    const { connection, ready } = connect((await start()).url);
    await ready();
    await connection.run((redis) => redis.set("text", "x"));
    await expect(connection.run((redis) => redis.lpush("text", "y"))).rejects.toMatchObject({
      code: "internal",
      retryable: false,
    });
    expect(connection.isReady).toBe(true);
  });

  it("uses a server that was killed and started again empty, its scripts forgotten", async () => {
    const server = await start();
    const { connection, events, ready } = connect(server.url);
    await ready();
    await connection.script(echo, ["k"], ["a"]);
    await server.stop();
    await expect.poll(() => connection.isReady, SOON).toBe(false);
    await expect(connection.script(echo, ["k"], ["a"])).rejects.toMatchObject({ code: "unavailable" });
    await start({ port: Number(new URL(server.url).port) });
    await ready();
    expect(await connection.script(echo, ["k"], ["b"])).toEqual(["b", "k"]);
    expect(events).toEqual(["ready", "failing", "ready"]);
  });

  it("ends the wait for a server that does not come with the signal's reason", async () => {
    const { connection } = connect("redis://127.0.0.1:9");
    const reason = new Error("enough");
    await expect(connection.ready(AbortSignal.abort(reason))).rejects.toBe(reason);
  });
});

/** Resolves after as many turns of the event loop: far less than any time limit. */
async function turnsOfTheLoop(turns: number): Promise<undefined> {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
  return undefined;
}
