/** Asks a provider which models it has that can talk, in its own order. */
import { type OllamaServer, ollamaClient } from "./ollama-client.ts";
import type { OpenaiClientSource } from "./openai-client.ts";

/** Names and families of models that only embed; not every server says what its models can do. */
const EMBEDDING_NAME = /embed|minilm|(?:^|[/:-])(?:bge|gte|e5)[-:]|\bbert\b/i;

/** The models of `GET /models`. Rejects when the server does not answer, or not with a list. */
export async function listOpenaiModels(client: OpenaiClientSource, signal: AbortSignal): Promise<string[]> {
  const page: { data?: unknown } = await (await client()).models.list({ signal });
  if (!Array.isArray(page.data)) throw new TypeError("no list of models");
  return page.data.map((model) => nameOf(model?.id)).filter((name) => name && !EMBEDDING_NAME.test(name));
}

/** The tags of `GET /api/tags`. Rejects when the server does not answer, or not with a list. */
export async function listOllamaModels(server: OllamaServer, signal: AbortSignal): Promise<string[]> {
  const { models }: { models?: unknown } = await (await ollamaClient({ server, signal })).list();
  if (!Array.isArray(models)) throw new TypeError("no list of models");
  return models
    .filter(canTalk)
    .map((model) => nameOf(model.name ?? model.model))
    .filter(Boolean);
}

interface OllamaTag {
  readonly name?: unknown;
  readonly model?: unknown;
  readonly details?: { readonly family?: unknown };
  /** Servers before 0.10 do not send it. */
  readonly capabilities?: unknown;
}

function canTalk({ name, model, details, capabilities }: OllamaTag): boolean {
  if (Array.isArray(capabilities)) return capabilities.includes("completion");
  return !EMBEDDING_NAME.test(nameOf(name ?? model)) && !EMBEDDING_NAME.test(nameOf(details?.family));
}

function nameOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
