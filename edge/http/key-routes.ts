/** `/api/v1/keys`: the API keys of the caller's tenant. A secret is in the answer that made it and in no other. */
import type { Context } from "hono";
import * as keys from "../../core/administration/keys.ts";
import type { RandomBytes } from "../../core/auth/api-key.ts";
import { administrationCall } from "./administration-call.ts";
import type { EdgeEnv } from "./edge-env.ts";
import { readJsonBody, readOptionalJsonBody } from "./read-input.ts";

const random: RandomBytes = (bytes) => crypto.getRandomValues(bytes);

/** The tenant's keys, usable ones first. */
export async function listKeys(c: Context<EdgeEnv>): Promise<Response> {
  return c.json({ keys: await keys.listKeys(administrationCall(c)) });
}

/** Makes a key: 201. */
export async function postKey(c: Context<EdgeEnv>): Promise<Response> {
  const body = await readJsonBody(c);
  return c.json(await keys.createKey(administrationCall(c), body, random, c.get("composition").now()), 201);
}

/** Replaces a key by a new one, with an overlap: 201. */
export async function rotateKey(c: Context<EdgeEnv>): Promise<Response> {
  const body = await readOptionalJsonBody(c);
  const { now } = c.get("composition");
  const created = await keys.rotateKey(administrationCall(c), keyId(c), body, random, now());
  c.get("composition").directoryCache?.forgetApiKey(keyId(c));
  return c.json(created, 201);
}

/** Ends a key at once: 204. */
export async function deleteKey(c: Context<EdgeEnv>): Promise<Response> {
  await keys.revokeKey(administrationCall(c), keyId(c));
  c.get("composition").directoryCache?.forgetApiKey(keyId(c));
  return c.body(null, 204);
}

function keyId(c: Context<EdgeEnv>): string {
  return c.req.param("id") ?? "";
}
