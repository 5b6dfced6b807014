/**
 * Builds the client of an OpenAI-compatible server: loaded when first asked for (its import costs 0.15 s and
 * 80 MB), silent, without retries or time limits of its own, and deaf to the SDK's environment variables for
 * keys and addresses: configuration comes in here only.
 */
import type OpenAI from "openai";

/** OpenAI's own address. */
export const OPENAI_BASE_URL = "https://api.openai.com/v1";

/** Longer than any limit of ours, which do the timing; the SDK needs some number. */
const SDK_TIMEOUT_MS = 86_400_000;

/** Where the server is, and with what key. */
export interface OpenaiClientOptions {
  /** Sent as a bearer token; without one no `Authorization` header is sent. */
  readonly apiKey?: string | undefined;
  /** Default {@link OPENAI_BASE_URL}. */
  readonly baseUrl?: string | undefined;
  readonly fetch?: typeof fetch | undefined;
}

/** The client, when it is needed; the same one at every call. Rejects only if the SDK cannot be loaded. */
export type OpenaiClientSource = () => Promise<OpenAI>;

/** A source of one client, built at its first call. */
export function openaiClientSource(options: OpenaiClientOptions): OpenaiClientSource {
  let client: Promise<OpenAI> | undefined;
  return () => {
    client ??= build(options);
    return client;
  };
}

async function build({ apiKey, baseUrl, fetch }: OpenaiClientOptions): Promise<OpenAI> {
  const { default: Client } = await import("openai");
  return new Client({
    // The SDK insists on a key; the header made from this one is taken out below.
    apiKey: apiKey || "no-key-configured",
    baseURL: baseUrl || OPENAI_BASE_URL,
    adminAPIKey: null,
    organization: null,
    project: null,
    webhookSecret: null,
    maxRetries: 0,
    timeout: SDK_TIMEOUT_MS,
    logLevel: "off",
    ...(apiKey ? {} : { defaultHeaders: { authorization: null } }),
    ...(fetch ? { fetch } : {}),
  });
}

/** Whether the address is OpenAI's own (or Azure's OpenAI), not a compatible server's. */
export function isOpenaiOwn(baseUrl: string): boolean {
  const host = URL.parse(baseUrl)?.hostname ?? "";
  return host === "openai.com" || host.endsWith(".openai.com") || host.endsWith(".openai.azure.com");
}
