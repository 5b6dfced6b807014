/** Puts tool calls together that come in pieces (Chat Completions `delta.tool_calls`). */
import type { ModelEvent } from "./language-model.ts";
import { modelFailure } from "./model-failure.ts";

/** More calls in one answer than any agent has tools. */
const CALLS_MAX = 128;
/** Longest arguments of one call, characters. */
const ARGUMENTS_CHARACTERS_MAX = 1024 * 1024;

type ToolCall = Extract<ModelEvent, { type: "tool-call" }>;

/** The calls of one answer. */
export class ToolCallAssembler {
  /** By the wire's index: a later piece names nothing else. */
  readonly #calls = new Map<number, ToolCall>();

  /** Takes the `tool_calls` of one delta, whatever it is. Throws `garbled` past the limits. */
  accept(pieces: unknown): void {
    if (!Array.isArray(pieces)) return;
    for (const [position, piece] of pieces.entries()) {
      if (typeof piece === "object" && piece !== null) this.#acceptPiece(piece, position);
    }
  }

  /** The calls so far, in the order of their index; a call without a name is left out. */
  calls(): ModelEvent[] {
    return [...this.#calls]
      .sort(([left], [right]) => left - right)
      .map(([, call]) => call)
      .filter((call) => call.name !== "");
  }

  #acceptPiece(piece: { index?: unknown; id?: unknown; function?: unknown }, position: number): void {
    const index = typeof piece.index === "number" ? piece.index : position;
    const call = this.#calls.get(index) ?? { type: "tool-call", id: "", name: "", arguments: "" };
    this.#calls.set(index, call);
    const { name, arguments: text } = (piece.function ?? {}) as { name?: unknown; arguments?: unknown };
    if (typeof piece.id === "string" && piece.id) call.id = piece.id;
    if (typeof name === "string" && name) call.name = name;
    if (typeof text === "string") call.arguments += text;
    if (this.#calls.size > CALLS_MAX || call.arguments.length > ARGUMENTS_CHARACTERS_MAX) {
      throw modelFailure("garbled");
    }
  }
}
