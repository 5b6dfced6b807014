/** How the end-to-end tests ask a gateway over HTTP. */
import type { Gateway } from "../support/gateway.ts";

/** A JSON value of unknown shape. */
// biome-ignore lint/suspicious/noExplicitAny: assertions read into whatever came back
export type Json = any;

/** An answer. */
export interface HttpAnswer {
  status: number;
  headers: Headers;
  body: Json;
}

/** Sends a message; `overrides` replaces parts of a good request. */
export async function ask(
  gateway: Gateway,
  message: unknown,
  overrides: { headers?: Record<string, string>; body?: string | Uint8Array<ArrayBuffer>; key?: string } = {},
): Promise<HttpAnswer> {
  const response = await fetch(`${gateway.url}/api/v1/a2a/message`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${overrides.key ?? gateway.key}`,
      "content-type": "application/json",
      ...overrides.headers,
    },
    body: overrides.body ?? JSON.stringify(message),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: text === "" ? undefined : JSON.parse(text),
  };
}
