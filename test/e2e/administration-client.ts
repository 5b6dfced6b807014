/** How the end-to-end tests of administration call the API. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { type Gateway, withoutOwnVariables } from "../support/gateway.ts";
import type { HttpAnswer, Json } from "./ask.ts";

/** Calls a route with JSON; GET unless told otherwise. */
export async function api(
  gateway: Gateway,
  methodAndPath: string,
  {
    key = gateway.key,
    body,
    headers,
  }: { key?: string; body?: unknown; headers?: Record<string, string> } = {},
): Promise<HttpAnswer> {
  const [method = "GET", path = "/"] = methodAndPath.split(" ");
  const response = await fetch(gateway.url + path, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(body !== undefined && { "content-type": "application/json" }),
      ...headers,
    },
    ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: text === "" ? undefined : JSON.parse(text),
  };
}

/** Makes a key and returns its text and id. */
export async function makeKey(
  gateway: Gateway,
  fields: object = {},
  key = gateway.key,
): Promise<{ id: string; text: string }> {
  const answer = await api(gateway, "POST /api/v1/keys", {
    key,
    body: { subject: "robot", scopes: ["messages:send", "agents:read"], ...fields },
  });
  if (answer.status !== 201) throw new Error(`no key was made: ${JSON.stringify(answer.body)}`);
  return { id: answer.body.id, text: answer.body.key };
}

/** Runs `npm run admin` beside a running gateway; what it prints. It knows the gateway's data, and of no index or model. */
export async function admin({ dataDirectory }: Gateway, ...args: string[]): Promise<Json> {
  const { stdout } = await promisify(execFile)(process.execPath, ["scripts/admin.ts", ...args, "--json"], {
    env: { ...withoutOwnVariables(process.env), DATA_DIRECTORY: dataDirectory },
  });
  return JSON.parse(stdout);
}

/** Asks until the answer is as wanted, and returns how long that took; gives up after `limitMs`. */
export async function eventually(limitMs: number, isSo: () => Promise<boolean>): Promise<number> {
  const startedAtMs = Date.now();
  while (!(await isSo())) {
    if (Date.now() - startedAtMs > limitMs) throw new Error(`it was not so within ${limitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  return Date.now() - startedAtMs;
}
