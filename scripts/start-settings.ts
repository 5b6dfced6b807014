/**
 * What `npm start` takes from the environment, read once: checked, with every problem reported together. Everything
 * else in the environment is the backend's or the edge's business and is handed on.
 */
import { randomBytes } from "node:crypto";
import { join, resolve } from "node:path";
import { z } from "zod";
import { optional, port, withDefault } from "../core/config/environment.ts";

const environmentSchema = z.object({
  BACKEND_HOST: withDefault(z.string(), "127.0.0.1"),
  BACKEND_PORT: withDefault(port, "8080"),
  BACKEND_TOKEN_SECRET: optional(z.string().min(32)),
  DATA_DIRECTORY: withDefault(z.string(), ".parley"),
  DEVELOPMENT_KEY_FILE: optional(z.string()),
  DRAIN_GRACE_MS: withDefault(z.coerce.number().int().min(1), "25000"),
  HOST: withDefault(z.string(), "127.0.0.1"),
  NEON_ENDPOINT_SECRET: optional(z.string().min(32)),
  PORT: withDefault(port, "8787"),
});

/** Names of the variables that `npm start` knows. */
export const START_VARIABLES = Object.keys(environmentSchema.shape);

/** What `npm start` works with. Paths are absolute. */
export interface StartSettings {
  /** Where the edge listens. Port 0: any. */
  readonly host: string;
  readonly port: number;
  readonly backendHost: string;
  readonly backendPort: number;
  readonly dataDirectory: string;
  readonly developmentKeyFile: string;
  /** How long the backend may take to finish its turns when it is asked to end. */
  readonly drainGraceMs: number;
  /** Shared by edge and backend; of this run only, unless given. */
  readonly backendTokenSecret: string;
  readonly neonEndpointSecret: string;
  /** The environment as it was given. */
  readonly environment: NodeJS.ProcessEnv;
}

/**
 * Reads the environment.
 *
 * @param directory what relative paths are relative to
 * @throws Error whose message lists every variable that is wrong and what is expected; never a value
 */
export function readStartSettings(environment: NodeJS.ProcessEnv, directory: string): StartSettings {
  const result = environmentSchema.safeParse(environment);
  if (!result.success) {
    const problems = result.error.issues.map((issue) => `  ${issue.path.join(".")}: ${issue.message}`);
    throw new Error(`the environment is wrong (see .env.example):\n${problems.join("\n")}`);
  }
  const given = result.data;
  if (given.PORT === given.BACKEND_PORT && given.PORT !== 0) {
    throw new Error("the environment is wrong (see .env.example):\n  PORT, BACKEND_PORT: must differ");
  }
  const dataDirectory = resolve(directory, given.DATA_DIRECTORY);
  return Object.freeze({
    host: given.HOST,
    port: given.PORT,
    backendHost: given.BACKEND_HOST,
    backendPort: given.BACKEND_PORT,
    dataDirectory,
    developmentKeyFile: resolve(
      directory,
      given.DEVELOPMENT_KEY_FILE ?? join(dataDirectory, "development-key"),
    ),
    drainGraceMs: given.DRAIN_GRACE_MS,
    backendTokenSecret: given.BACKEND_TOKEN_SECRET ?? randomSecret(),
    neonEndpointSecret: given.NEON_ENDPOINT_SECRET ?? randomSecret(),
    environment,
  });
}

/** 256 bits, as characters that need no escape in a URL. */
function randomSecret(): string {
  return randomBytes(32).toString("base64url");
}
