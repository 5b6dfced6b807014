/** How calls reach one backend address: the Connect protocol, binary, over the platform's fetch. */
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import { createStreamingCall } from "./streaming-call.ts";

/**
 * A transport for one address. It holds no connection and no other I/O, so that one may serve all requests of an
 * isolate.
 */
export function createBackendTransport(baseUrl: string, fetch: typeof globalThis.fetch): Transport {
  const translating = translatingFetch(fetch);
  const { unary } = createConnectTransport({ baseUrl, useBinaryFormat: true, fetch: translating });
  return { unary, stream: createStreamingCall(baseUrl, translating) };
}

/** Fetch, as workerd and Cloudflare need it. Failures that Connect does not know end up as its `unknown`. */
function translatingFetch(fetch: typeof globalThis.fetch): typeof globalThis.fetch {
  return async (input, init) => {
    // connect-web asks for redirect "error", which workerd refuses; "manual" does not follow either.
    const response = await fetch(input, { ...init, redirect: "manual" });
    const isConnectError = response.headers.get("content-type")?.startsWith("application/json") ?? false;
    if (response.status !== 504 || isConnectError) return response;
    // Cloudflare puts a page of its own in place of the backend's 504, which Connect takes for `unavailable`.
    await response.body?.cancel();
    throw new ConnectError("HTTP 504", Code.DeadlineExceeded, response.headers);
  };
}
