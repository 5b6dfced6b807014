/** How calls reach one backend address: the Connect protocol, binary, over the platform's fetch. */
import { Code, ConnectError, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";

/**
 * A transport for one address. It holds no connection and no other I/O, so that one may serve all requests of an
 * isolate.
 */
export function createBackendTransport(baseUrl: string, fetch: typeof globalThis.fetch): Transport {
  return createConnectTransport({ baseUrl, useBinaryFormat: true, fetch: translatingFetch(fetch) });
}

/** Fetch, with the failures that Connect's own table of HTTP statuses does not know put into its words. */
function translatingFetch(fetch: typeof globalThis.fetch): typeof globalThis.fetch {
  return async (input, init) => {
    let response: Response;
    try {
      // connect-web asks for redirect "error", which workerd refuses; "manual" does not follow either.
      response = await fetch(input, { ...init, redirect: "manual" });
    } catch (cause) {
      if (init?.signal?.aborted) throw cause;
      throw new ConnectError("no connection", Code.Unavailable, undefined, undefined, cause);
    }
    const code = codeOfGatewayStatus(response);
    if (code === undefined) return response;
    await response.body?.cancel();
    throw new ConnectError(`HTTP ${response.status}`, code, response.headers);
  };
}

/** Statuses that Cloudflare sends in place of the backend's answer. */
function codeOfGatewayStatus(response: Response): Code | undefined {
  const isConnectError = response.headers.get("content-type")?.startsWith("application/json") ?? false;
  if (isConnectError) return undefined;
  if (response.status === 504) return Code.DeadlineExceeded;
  // 520 to 530: the origin refused, timed out, or was not found.
  if (response.status >= 520 && response.status <= 530) return Code.Unavailable;
  return undefined;
}
