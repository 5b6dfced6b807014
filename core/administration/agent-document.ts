/**
 * An agent as administrators write it. Beyond the schema of its configuration this refuses what would be accepted
 * and never work: reserved ids, and a chain that falls back from a model to that very model. A chain is a list,
 * so it has no cycles; its nearest relative is a link equal to the one before it, which only asks again what has
 * just failed: tries of one model are counted by `limits.attemptsMax`. The same model with other parameters, or
 * again later in the chain, is fine. The lists of fallbacks are held to the same, and to not being the only model
 * of the agent over again.
 */
import * as z from "zod";
import { agentConfigSchema, IDENTIFIER_PATTERN } from "../directory/agent.ts";
import { type Violation, validate } from "./violations.ts";

const NAME_CHARACTERS_MAX = 200;
const DESCRIPTION_CHARACTERS_MAX = 2_000;

/** Names in which the gateway itself speaks; no agent may take them. */
export const RESERVED_AGENT_IDS: readonly string[] = ["gateway", "parley", "system"];

const name = z.string().min(1).max(NAME_CHARACTERS_MAX);
const description = z.string().max(DESCRIPTION_CHARACTERS_MAX);

/** An id of agents and tenants. */
export const identifierSchema = z
  .string()
  .regex(IDENTIFIER_PATTERN, "must be 1 to 64 of a-z 0-9 . _ -, beginning and ending with a letter or digit");

/** What replaces an agent: all of it but its id. */
export const agentReplacementSchema = z.strictObject({
  name,
  description: description.default(""),
  config: agentConfigSchema,
});

/** A new agent. */
export const agentDocumentSchema = agentReplacementSchema.extend({
  id: identifierSchema.refine((id) => !RESERVED_AGENT_IDS.includes(id), "is a reserved name"),
});

/** A merge patch of an agent: what it makes of the document is validated, not the patch itself. */
export const agentPatchSchema = z
  .strictObject({
    name: name.optional(),
    description: description.nullable().optional(),
    config: z.record(z.string(), z.unknown()).optional(),
  })
  .describe("JSON merge patch (RFC 7396) of name, description and config");

/** All of an agent but its id, validated; the configuration as it was written, defaults left out. */
export interface AgentReplacement {
  readonly name: string;
  readonly description: string;
  readonly config: object;
}

/** @throws ParleyError `invalid_argument` with every problem */
export function validateAgentReplacement(input: unknown): AgentReplacement {
  const { name, description } = validate(agentReplacementSchema, input, chainViolations(input));
  return { name, description, config: rawConfig(input) };
}

/** @throws ParleyError `invalid_argument` with every problem */
export function validateAgentDocument(input: unknown): AgentReplacement & { id: string } {
  const { id, name, description } = validate(agentDocumentSchema, input, chainViolations(input));
  return { id, name, description, config: rawConfig(input) };
}

/** Looked for in the raw input, so that it is reported beside the schema's own problems. */
function chainViolations(input: unknown): Violation[] {
  const config = rawConfig(input) as Record<string, unknown>;
  return [
    ...["models", ...FALLBACK_LISTS].flatMap((list) => repeatedLinks(list, config[list])),
    ...FALLBACK_LISTS.flatMap((list) => uselessFallbacks(list, config[list], config["models"])),
    ...hedgeViolations(config),
  ];
}

/** Lists of models that are turned to when all that the failed one is told would fail again. */
const FALLBACK_LISTS = ["contextWindowFallbacks", "contentPolicyFallbacks"] as const;

function repeatedLinks(list: string, links: unknown): Violation[] {
  if (!Array.isArray(links)) return [];
  return links.flatMap((link, index) => {
    if (index === 0 || !isSameJson(link, links[index - 1])) return [];
    return [
      {
        field: `config.${list}.${index}`,
        description: "falls back to the very link before it; for more tries raise its limits.attemptsMax",
      },
    ];
  });
}

function uselessFallbacks(list: string, links: unknown, models: unknown): Violation[] {
  if (!Array.isArray(links) || !Array.isArray(models) || models.length === 0) return [];
  return links.flatMap((link, index) => {
    if (!models.every((model) => isSameJson(modelNamed(model), modelNamed(link)))) return [];
    return [
      {
        field: `config.${list}.${index}`,
        description: "is the model that it would stand in for; name another one",
      },
    ];
  });
}

function hedgeViolations({ hedge, models }: Record<string, unknown>): Violation[] {
  if (hedge === undefined || !Array.isArray(models) || models.length !== 1) return [];
  return [{ field: "config.hedge", description: "needs a second model in config.models to ask" }];
}

/** What a link says of which model it means. */
function modelNamed(link: unknown): object {
  const { provider, model = "default" } = (link ?? {}) as { provider?: unknown; model?: unknown };
  return { provider, model };
}

function rawConfig(input: unknown): object {
  const { config } = (input ?? {}) as { config?: unknown };
  return typeof config === "object" && config !== null ? config : {};
}

/** Whether both hold the same, whatever the order of their fields. */
export function isSameJson(a: unknown, b: unknown): boolean {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return a === b;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every(
      (key) =>
        Object.hasOwn(b, key) &&
        isSameJson((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]),
    )
  );
}
