/** Entry point of the thread that reads documents; started by DocumentReader only, one document at a time. */
import { parentPort } from "node:worker_threads";
import { toParleyError } from "../../core/errors/parley-error.ts";
import type { TextFormat } from "./document-structure.ts";
import { type DocumentSource, type ReadDocument, readDocument, split } from "./read-document.ts";

/** A text that was read before and is to be cut again. */
export interface StoredText {
  readonly text: string;
  readonly format: TextFormat;
  readonly title: string | undefined;
  readonly mediaType: string;
}

/** What the thread is asked. */
export type ThreadRequest = { read: DocumentSource } | { split: StoredText };

/** What it answers; errors lose their class on the way, so they go by their fields. */
export type ThreadReply =
  | { document: ReadDocument }
  | {
      error: {
        code: "invalid_argument" | "internal";
        reason: string | undefined;
        message: string;
        cause: string;
      };
    };

async function answer(request: ThreadRequest): Promise<ThreadReply> {
  try {
    if ("read" in request) return { document: await readDocument(request.read) };
    const { text, format, title, mediaType } = request.split;
    return { document: { text: "", format, ...split(text, format, title, mediaType) } };
  } catch (thrown) {
    const { code, reason, message, cause } = toParleyError(thrown);
    return {
      error: {
        code: code === "invalid_argument" ? code : "internal",
        reason,
        message,
        cause: cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause ?? ""),
      },
    };
  }
}

parentPort?.on("message", async (request: ThreadRequest) => parentPort?.postMessage(await answer(request)));
