/**
 * The REST protocol of Upstash Redis (https://upstash.com/docs/redis/features/restapi) in front of a real Redis: what
 * the edge's client speaks, and nothing of Upstash's own features. Redis 7 does not know the flag in the first line
 * of the library's scripts, so that the line is taken out, and scripts are found again under the hash they had with it.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { Redis } from "ioredis";

/** A running endpoint. */
export interface UpstashEndpoint {
  readonly url: string;
  readonly token: string;
  /** Cuts all connections and refuses new ones. */
  stop(): Promise<void>;
}

type Command = readonly (string | number)[];
type Outcome = { result: unknown } | { error: string };

const SHEBANG = /^#!lua[^\n]*\n/;
const TOKEN = "an-upstash-token-of-the-tests";

/** Serves on a free port of loopback. @param redisUrl of the Redis behind it */
export async function startUpstashEndpoint(redisUrl: string): Promise<UpstashEndpoint> {
  const redis = new Redis(redisUrl, { maxRetriesPerRequest: null });
  redis.on("error", () => {});
  const scripts = new Map<string, string>();

  async function answer(request: IncomingMessage): Promise<{ status: number; body: unknown }> {
    if (request.headers.authorization !== `Bearer ${TOKEN}`) {
      return { status: 401, body: { error: "WRONGPASS invalid or missing auth token" } };
    }
    const body: unknown = JSON.parse(await text(request));
    const encode = request.headers["upstash-encoding"] === "base64" ? toBase64 : (value: unknown) => value;
    const encoded = (outcome: Outcome) => ("error" in outcome ? outcome : { result: encode(outcome.result) });
    switch (request.url) {
      case "/pipeline": {
        const outcomes = await Promise.all(
          (body as Command[]).map((command) => run(redis, scripts, command)),
        );
        return { status: 200, body: outcomes.map(encoded) };
      }
      case "/multi-exec":
        return runTransaction(redis, scripts, body as Command[], encoded);
      default: {
        const outcome = await run(redis, scripts, body as Command);
        return { status: "error" in outcome ? 400 : 200, body: encoded(outcome) };
      }
    }
  }

  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    answer(request).then(
      ({ status, body }) => {
        response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
      },
      (error: unknown) => response.writeHead(400).end(JSON.stringify({ error: String(error) })),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    token: TOKEN,
    async stop() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      redis.disconnect();
      await closed;
    },
  };
}

async function run(redis: Redis, scripts: Map<string, string>, command: Command): Promise<Outcome> {
  try {
    const [name, ...parameters] = portable(scripts, command);
    return { result: await redis.call(String(name), ...parameters) };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

async function runTransaction(
  redis: Redis,
  scripts: Map<string, string>,
  commands: Command[],
  encoded: (outcome: Outcome) => unknown,
): Promise<{ status: number; body: unknown }> {
  const transaction = redis.multi();
  for (const command of commands) {
    const [name, ...parameters] = portable(scripts, command);
    transaction.call(String(name), ...parameters);
  }
  try {
    const outcomes = (await transaction.exec()) ?? [];
    const body = outcomes.map(([error, result]) => encoded(error ? { error: error.message } : { result }));
    return { status: 200, body };
  } catch (error) {
    return { status: 400, body: { error: (error as Error).message } };
  }
}

/** The command as Redis 7 takes it. */
function portable(scripts: Map<string, string>, [name, script, ...rest]: Command): Command {
  if (script === undefined) return [String(name)];
  switch (String(name).toUpperCase()) {
    case "EVAL": {
      const source = String(script);
      const plain = source.replace(SHEBANG, "");
      scripts.set(sha1(source), sha1(plain));
      return ["EVAL", plain, ...rest];
    }
    case "EVALSHA":
      return ["EVALSHA", scripts.get(String(script)) ?? script, ...rest];
    default:
      return [String(name), script, ...rest];
  }
}

function sha1(source: string): string {
  return createHash("sha1").update(source).digest("hex");
}

/** Numbers, null and "OK" stay as they are. */
function toBase64(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(toBase64);
  return typeof value === "string" && value !== "OK" ? Buffer.from(value).toString("base64") : value;
}
