/**
 * `npm run bench -- knowledge`: how well search finds, on our own benchmark or the BEIR set in `--data DIRECTORY`;
 * with `--scale CHUNKS`, how fast it is in an index of so many. `--index pglite|postgres|milvus`. The embedding model
 * is the one that the environment names (EMBEDDING_MODEL and its provider's variables), else the builtin one.
 */
import { loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { readBackendConfig } from "../../../backend/config.ts";
import { EmbeddingModels } from "../../../backend/llm/embedding-models.ts";
import { readBeirSet } from "./beir-set.ts";
import { renderRetrieval, renderScale } from "./knowledge-report.ts";
import { INDEX_KINDS, isIndexKind, type OpenIndex } from "./open-index.ts";
import { runRetrieval } from "./retrieval.ts";
import { measureScale } from "./scale.ts";

/** Our own benchmark. */
export const OWN_DATA = fileURLToPath(new URL("data", import.meta.url));

const SEARCHES = 200;
/** What the ingestion runner does at once. */
const CONCURRENCY = 2;

/** Prints the table that the arguments ask for. */
export async function runKnowledgeBench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      index: { type: "string", default: "pglite" },
      data: { type: "string", default: OWN_DATA },
      scale: { type: "string" },
    },
  });
  const { index: kind, data, scale } = values;
  const chunks = Number(scale ?? 1);
  if (!isIndexKind(kind)) throw new Error(`--index must be one of ${Object.keys(INDEX_KINDS).join(", ")}`);
  if (!Number.isInteger(chunks) || chunks < 1) throw new Error("--scale must be a number of chunks");
  const opened = await INDEX_KINDS[kind]();
  try {
    if (scale === undefined) await benchRetrieval(opened, data);
    else await benchScale(opened, chunks);
    console.log(`load of the machine: ${loadavg()[0]?.toFixed(1)}`);
  } finally {
    await opened.close();
  }
}

async function benchRetrieval({ name, index }: OpenIndex, directory: string): Promise<void> {
  const config = readBackendConfig(process.env);
  const models = new EmbeddingModels({
    config: {
      openai: { apiKey: config.OPENAI_API_KEY, baseUrl: config.OPENAI_BASE_URL },
      ollama: { host: config.OLLAMA_HOST },
    },
    embeddingModel: config.EMBEDDING_MODEL,
  });
  const { embeddingModel, dimension } = await models.current(new AbortController().signal);
  const model = models.find(embeddingModel);
  if (!model) throw new Error(`the provider of ${embeddingModel} is not configured`);
  const outcomes = await runRetrieval(readBeirSet(directory), { index, model, dimension });
  console.log(`${name}, ${embeddingModel}\n\n${renderRetrieval(outcomes)}`);
}

async function benchScale(opened: OpenIndex, chunks: number): Promise<void> {
  const { name } = opened;
  const onProgress = (text: string) => process.stderr.write(`${name}: ${text}\n`);
  const result = await measureScale(opened, {
    chunks,
    searches: SEARCHES,
    concurrency: CONCURRENCY,
    onProgress,
  });
  console.log(renderScale(name, result));
}
