/** Answers with what it was sent, part for part; for trying the pipes. */
import { clone } from "@bufbuild/protobuf";
import { textOf } from "../../core/messages/envelope.ts";
import { PartSchema } from "../../proto/gen/lf/a2a/v1/a2a_pb.js";
import type { AgentRunner } from "./agent-runner.ts";

/** What replies name as the model. */
const ECHO_MODEL = "builtin/echo";

/** A long text goes out in this many pieces at most: every piece is an event that is kept for followers. */
const PIECES_MAX = 128;

/** The one echo agent; it has no state. */
export function createEchoAgent(): AgentRunner {
  return {
    async *answer({ content }, signal) {
      const words = textOf(content).match(/\S+\s*|\s+/g) ?? [];
      const wordsPerPiece = Math.ceil(words.length / PIECES_MAX);
      for (let start = 0; start < words.length; start += wordsPerPiece) {
        signal.throwIfAborted();
        yield { type: "text-delta", text: words.slice(start, start + wordsPerPiece).join("") };
      }
      yield {
        type: "finish",
        parts: content.parts.map((part) => clone(PartSchema, part)),
        metadata: { model: ECHO_MODEL, finishReason: "stop" },
        record: { model: ECHO_MODEL },
      };
    },
  };
}
