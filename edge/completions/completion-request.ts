/**
 * The body of `POST /v1/chat/completions` as OpenAI's API has it, as far as agents can do it. Fields that are unknown
 * or only hints are ignored; those that would change the answer and cannot be honoured are refused by name.
 */
import * as z from "zod";
import { type JsonValue, ParleyError } from "../../core/errors/parley-error.ts";
import { requireSupported } from "./unsupported-parameters.ts";

/** As many as a turn may bring; a limit of the contract, and one for what comes before it. */
const MESSAGES_MAX = 1_001;
const PARTS_MAX = 64;
const OUTPUT_TOKENS_MAX = 1_000_000;
const STOPS_MAX = 4;

const textPart = z.looseObject({ type: z.literal("text"), text: z.string() });
const messageSchema = z.looseObject({
  role: z.enum(["system", "developer", "user", "assistant"]),
  content: z.union([z.string(), z.array(textPart).min(1).max(PARTS_MAX)]),
});
const stop = z.string().min(1).max(200);
const outputTokens = z.int().min(1).max(OUTPUT_TOKENS_MAX).nullish();

/** What is read of the body. */
export const completionRequestSchema = z.looseObject({
  model: z.string().min(1).describe("An agent's id; GET /v1/models lists them"),
  messages: z.array(messageSchema).min(1).max(MESSAGES_MAX),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  max_tokens: outputTokens,
  max_completion_tokens: outputTokens,
  stop: z.union([stop, z.array(stop).max(STOPS_MAX)]).nullish(),
  seed: z.int().nullish(),
});

/** A checked body. */
export type CompletionRequest = z.output<typeof completionRequestSchema>;

/** A message of it. */
export type CompletionMessage = CompletionRequest["messages"][number];

/** @throws ParleyError `invalid_argument`, with the field at fault in `details.param` */
export function checkCompletionRequest(body: JsonValue): CompletionRequest {
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new ParleyError("invalid_argument", "the body must be a JSON object with `model` and `messages`");
  }
  requireSupported(body);
  // Without the input, what is missing cannot be told from what is of another type.
  const checked = completionRequestSchema.safeParse(body, { reportInput: true });
  if (!checked.success) throw violation(checked.error.issues);
  const request = checked.data;
  if (request.stream_options && !request.stream) {
    throw badParameter("stream_options", "is allowed only together with `stream: true`");
  }
  const { max_tokens: older, max_completion_tokens: newer } = request;
  if (older != null && newer != null && older !== newer) {
    throw badParameter("max_tokens", "and `max_completion_tokens` differ; leave one of them out");
  }
  return request;
}

/** The refusal of one field. */
export function badParameter(param: string, problem: string, reason?: string): ParleyError {
  return new ParleyError("invalid_argument", `\`${param}\` ${problem}`, {
    details: { param },
    ...(reason !== undefined && { reason }),
  });
}

/** The first problem; of a union, that of the alternative which came closest. */
function violation(issues: readonly z.core.$ZodIssue[], base: PropertyKey[] = []): ParleyError {
  const [issue] = issues;
  if (!issue) return new ParleyError("invalid_argument", "the body has the wrong shape");
  const path = [...base, ...issue.path];
  if (issue.input === undefined)
    return badParameter(pathText(path), "is missing", "missing-required-parameter");
  if (issue.code === "invalid_union") {
    const closest = issue.errors.find(([first]) => first && !isOtherType(first));
    if (closest) return violation(closest, path);
    const kinds = issue.errors.flatMap(([first]) => (first && "expected" in first ? [first.expected] : []));
    return badParameter(pathText(path), `must be one of: ${kinds.join(", ")}`, "invalid-type");
  }
  const reason = issue.code === "invalid_type" ? "invalid-type" : "invalid-value";
  return badParameter(pathText(path), `is not valid: ${issue.message}`, reason);
}

/** Whether an alternative of a union was not even meant: a list where a text may be, say. */
function isOtherType({ code, path }: z.core.$ZodIssue): boolean {
  return code === "invalid_type" && path.length === 0;
}

/** As OpenAI names places: `messages[0].content`. */
function pathText(path: readonly PropertyKey[]): string {
  return path
    .map((step, index) => {
      if (typeof step === "number") return `[${step}]`;
      return index === 0 ? String(step) : `.${String(step)}`;
    })
    .join("");
}
