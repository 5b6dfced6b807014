/** The backend's environment, read once: checked, with every problem reported together, and frozen. */
import { z } from "zod";
import { BACKEND_TOKEN_SECRET_BYTES_MIN } from "../core/auth/backend-token.ts";
import { JWT_VARIABLES, type JwtSettings, readJwtSettings } from "../core/auth/jwt-settings.ts";
import { optional, port, withDefault } from "../core/config/environment.ts";
import { EMBEDDING_MODEL_PATTERN } from "./llm/embedding-models.ts";

const positive = z.coerce.number().int().min(1);
const flag = z.enum(["true", "false"]).transform((text) => text === "true");

/** Every variable, what it must be, its default. The effect of each stands in `.env.example`. */
const environmentSchema = z
  .object({
    BACKEND_HOST: withDefault(z.string(), "127.0.0.1"),
    BACKEND_PORT: withDefault(port, "8080"),
    BACKEND_TOKEN_SECRET: optional(z.string().min(BACKEND_TOKEN_SECRET_BYTES_MIN)),
    DATABASE_URL: optional(z.url({ protocol: /^postgres(ql)?$/ })),
    DATA_DIRECTORY: withDefault(z.string(), ".parley"),
    DEVELOPMENT_KEY_FILE: optional(z.string()),
    DRAIN_GRACE_MS: withDefault(positive, "25000"),
    EDGE_URL: optional(z.url({ protocol: /^https?$/ })),
    EMBEDDING_MODEL: optional(z.string().regex(EMBEDDING_MODEL_PATTERN)),
    GRPC_REFLECTION: withDefault(flag, "true"),
    LIMITS_ENABLED: withDefault(flag, "true"),
    LOG_LEVEL: withDefault(z.enum(["debug", "info", "warn", "error", "silent"]), "info"),
    MESSAGE_BYTES_MAX: withDefault(positive, "8388608"),
    MILVUS_ADDRESS: optional(z.string().regex(/^(?:https?:\/\/)?[^\s/]+$/, "expected host:port")),
    MILVUS_TOKEN: optional(z.string()),
    NEON_ENDPOINT_PORT: withDefault(port, "0"),
    NEON_ENDPOINT_SECRET: optional(z.string().min(32)),
    OLLAMA_CONCURRENCY_MAX: withDefault(positive, "4"),
    OLLAMA_HOST: withDefault(z.string(), "http://127.0.0.1:11434"),
    OLLAMA_MODEL: optional(z.string()),
    OPENAI_API_KEY: optional(z.string()),
    OPENAI_BASE_URL: optional(z.url({ protocol: /^https?$/ })),
    OPENAI_MODEL: optional(z.string()),
    REDIS_URL: optional(z.url({ protocol: /^rediss?$/ })),
    TASK_LEASE_MS: withDefault(z.coerce.number().int().min(200), "3500"),
    TASKS_IN_FLIGHT_MAX: withDefault(positive, "1024"),
    TURN_TIMEOUT_MS: withDefault(positive, "120000"),
    UPSTASH_REDIS_REST_TOKEN: optional(z.string()),
    UPSTASH_REDIS_REST_URL: optional(z.url({ protocol: /^https?$/ })),
  })
  .refine((env) => !env.UPSTASH_REDIS_REST_URL === !env.UPSTASH_REDIS_REST_TOKEN, {
    path: ["UPSTASH_REDIS_REST_TOKEN"],
    error: "must be set when, and only when, UPSTASH_REDIS_REST_URL is",
    when: () => true,
  });

/** Names of the variables that the backend knows. */
export const BACKEND_VARIABLES = [...Object.keys(environmentSchema.shape), ...Object.keys(JWT_VARIABLES)];

/** The checked environment, by variable; `jwt` is how callers' JWTs are verified, undefined where none is taken. */
export type BackendConfig = Readonly<z.output<typeof environmentSchema>> & {
  readonly jwt: JwtSettings | undefined;
};

/**
 * Reads the environment.
 *
 * @throws Error whose message lists every variable that is wrong and what is expected; never a value
 */
export function readBackendConfig(environment: Record<string, string | undefined>): BackendConfig {
  const result = environmentSchema.safeParse(environment);
  const jwt = readJwtSettings(environment);
  if (result.success && jwt.problems.length === 0)
    return Object.freeze({ ...result.data, jwt: jwt.settings });
  const problems = [
    ...(result.error?.issues ?? []).map((issue) => `  ${issue.path.join(".")}: ${issue.message}`),
    ...jwt.problems.map((variable) => `  ${variable}: ${JWT_VARIABLES[variable].expectation}`),
  ];
  throw new Error(`the backend's environment is wrong (see .env.example):\n${problems.join("\n")}`);
}
