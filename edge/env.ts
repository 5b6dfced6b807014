/**
 * The edge's environment, read once and checked as a whole: all problems are reported together, each with the
 * variable, what is expected of it and what it is for, and never with a value. Defaults live here only.
 */
import * as z from "zod";
import { BACKEND_TOKEN_SECRET_BYTES_MIN } from "../core/auth/backend-token.ts";
import {
  JWT_VARIABLES,
  type JwtSettings,
  type JwtVariable,
  readJwtSettings,
} from "../core/auth/jwt-settings.ts";
import { emptyAsUnset } from "../core/config/environment.ts";

/** How much is logged; a level includes those after it. */
export const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;

/** One of {@link LOG_LEVELS}. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** The level of lines that are written before, or without, a usable configuration. */
export const LOG_LEVEL_DEFAULT: LogLevel = "info";

/** More addresses than this belong behind a load balancer. */
const BACKEND_URLS_MAX = 32;
/** Each is compared with the origin of every page that connects. */
const ALLOWED_ORIGINS_MAX = 64;
const REQUEST_BYTES_MIN = 1024;
const REQUEST_BYTES_DEFAULT = 1_048_576;
/** The isolate holds the body and its JSON; 128 MiB is all the memory it has. */
const REQUEST_BYTES_LIMIT = 16 * 1_048_576;
const REQUEST_TIMEOUT_MS_MIN = 100;
const REQUEST_TIMEOUT_MS_DEFAULT = 60_000;
/** As long as the longest total time that an agent's model may be given. */
const REQUEST_TIMEOUT_MS_LIMIT = 600_000;

/** The checked, frozen configuration of one Worker. */
export interface EdgeConfig {
  /** Base URLs of the backend's addresses, without a trailing slash. */
  readonly backendUrls: readonly string[];
  readonly backendTokenSecret: string;
  readonly databaseUrl: string;
  /** Where a local Neon SQL-over-HTTP endpoint answers; undefined for Neon itself. */
  readonly databaseEndpoint: string | undefined;
  /** Whether callers are limited. */
  readonly limitsEnabled: boolean;
  /** Upstash Redis, for limits; undefined when they are counted by Durable Objects. */
  readonly upstash: { readonly url: string; readonly token: string } | undefined;
  /** How callers' JWTs are verified; undefined where none is taken. */
  readonly jwt: JwtSettings | undefined;
  /** Origins of pages that may call and open WebSockets, beside the gateway's own. */
  readonly allowedOrigins: readonly string[];
  readonly requestBytesMax: number;
  readonly requestTimeoutMs: number;
  /** Header that says where a caller is, set by a proxy; undefined: the connection's other end. */
  readonly clientAddressHeader: string | undefined;
  readonly logLevel: LogLevel;
}

const backendUrl = z
  .url({ protocol: /^https?$/ })
  // fetch refuses URLs with credentials, and a refusal would put them into the log.
  .refine((text) => hasUrl(text, (url) => url.username === "" && url.password === ""))
  .transform((url) => url.replace(/\/+$/, ""));

/** What Neon's driver insists on; it would say so itself, and print the password. */
const databaseUrl = z
  .url({ protocol: /^postgres(ql)?$/ })
  .refine((text) =>
    hasUrl(text, (url) => url.username !== "" && url.hostname !== "" && url.pathname.length > 1),
  );

const schema = z
  .object({
    BACKEND_URLS: z
      .string()
      .transform((text) => text.split(",").flatMap((url) => url.trim() || []))
      .pipe(z.array(backendUrl).min(1).max(BACKEND_URLS_MAX))
      .transform((urls) => [...new Set(urls)]),
    BACKEND_TOKEN_SECRET: z
      .string()
      .refine((text) => new TextEncoder().encode(text).byteLength >= BACKEND_TOKEN_SECRET_BYTES_MIN),
    DATABASE_URL: databaseUrl,
    DATABASE_ENDPOINT: z.preprocess(emptyAsUnset, z.url({ protocol: /^https?$/ }).optional()),
    ALLOWED_ORIGINS: z.preprocess(
      emptyAsUnset,
      z
        .string()
        .default("")
        .transform((text) => text.split(",").flatMap((origin) => origin.trim() || []))
        .pipe(z.array(z.string().refine(isOrigin)).max(ALLOWED_ORIGINS_MAX)),
    ),
    REQUEST_BYTES_MAX: wholeNumber(REQUEST_BYTES_MIN, REQUEST_BYTES_LIMIT, REQUEST_BYTES_DEFAULT),
    REQUEST_TIMEOUT_MS: wholeNumber(
      REQUEST_TIMEOUT_MS_MIN,
      REQUEST_TIMEOUT_MS_LIMIT,
      REQUEST_TIMEOUT_MS_DEFAULT,
    ),
    LIMITS_ENABLED: z.preprocess(emptyAsUnset, z.enum(["true", "false"]).default("true")),
    UPSTASH_REDIS_REST_URL: z.preprocess(emptyAsUnset, z.url({ protocol: /^https?$/ }).optional()),
    UPSTASH_REDIS_REST_TOKEN: z.preprocess(emptyAsUnset, z.string().optional()),
    CLIENT_ADDRESS_HEADER: z.preprocess(
      emptyAsUnset,
      z
        .string()
        .regex(/^[A-Za-z0-9-]{1,64}$/)
        .optional(),
    ),
    LOG_LEVEL: z.preprocess(emptyAsUnset, z.enum(LOG_LEVELS).default(LOG_LEVEL_DEFAULT)),
  })
  // Also when something else is wrong: all problems are reported together.
  .refine((env) => !env.UPSTASH_REDIS_REST_URL === !env.UPSTASH_REDIS_REST_TOKEN, {
    path: ["UPSTASH_REDIS_REST_TOKEN"],
    when: () => true,
  });

/** A variable that the edge reads. */
export type EdgeVariable = keyof typeof schema.shape | JwtVariable;

/** What each variable must be, and what it is for; also the list of all variables there are. */
export const EDGE_VARIABLES = {
  ...JWT_VARIABLES,
  BACKEND_URLS: {
    expectation: `1 to ${BACKEND_URLS_MAX} http or https URLs without credentials, separated by commas`,
    effect: "where messages to agents are sent",
  },
  BACKEND_TOKEN_SECRET: {
    expectation: `at least ${BACKEND_TOKEN_SECRET_BYTES_MIN} bytes, the same as the backend's`,
    effect: "signs the edge's calls to the backend",
  },
  DATABASE_URL: {
    expectation: "a connection string postgres://user:password@host/database",
    effect: "where API keys and agents are looked up",
  },
  DATABASE_ENDPOINT: {
    expectation: "unset, or the http or https URL of a Neon SQL endpoint",
    effect: "where SQL is sent instead of to Neon itself",
  },
  ALLOWED_ORIGINS: {
    expectation: `unset, or at most ${ALLOWED_ORIGINS_MAX} origins such as https://chat.example.com, separated by commas`,
    effect: "pages that may call and open WebSockets, beside the gateway's own",
  },
  REQUEST_BYTES_MAX: {
    expectation: `unset (${REQUEST_BYTES_DEFAULT}), or a whole number from ${REQUEST_BYTES_MIN} to ${REQUEST_BYTES_LIMIT}`,
    effect: "the largest body of a request, bytes",
  },
  REQUEST_TIMEOUT_MS: {
    expectation: `unset (${REQUEST_TIMEOUT_MS_DEFAULT}), or a whole number from ${REQUEST_TIMEOUT_MS_MIN} to ${REQUEST_TIMEOUT_MS_LIMIT}`,
    effect: "the time a request may take, milliseconds",
  },
  LIMITS_ENABLED: {
    expectation: "unset (true), true or false",
    effect: "whether requests and tokens are limited",
  },
  UPSTASH_REDIS_REST_URL: {
    expectation: "unset, or the http or https URL of an Upstash Redis database",
    effect: "where limits are counted instead of in Durable Objects",
  },
  UPSTASH_REDIS_REST_TOKEN: {
    expectation: "the token of UPSTASH_REDIS_REST_URL; set when, and only when, that is",
    effect: "opens the database where limits are counted",
  },
  CLIENT_ADDRESS_HEADER: {
    expectation: "unset, or the name of a header that the proxy in front of the edge always sets",
    effect: "where a caller's address is read instead of from the connection",
  },
  LOG_LEVEL: {
    expectation: `unset (${LOG_LEVEL_DEFAULT}), or one of ${LOG_LEVELS.join(", ")}`,
    effect: "how much is logged",
  },
} as const satisfies Record<EdgeVariable, { expectation: string; effect: string }>;

/** The environment is not usable. Its message names every problem and no value; for the log only. */
export class ConfigurationError extends Error {
  override readonly name = "ConfigurationError";

  constructor(variables: readonly EdgeVariable[]) {
    const problems = variables.map((variable) => {
      const { expectation, effect } = EDGE_VARIABLES[variable];
      return `${variable} must be ${expectation} (${effect})`;
    });
    super(`the Worker's configuration is not usable: ${problems.join("; ")}`);
  }
}

/**
 * Reads the variables and secrets among a Worker's bindings; other bindings are left alone.
 *
 * @throws ConfigurationError with all problems at once
 */
export function readEdgeConfig(env: object): EdgeConfig {
  const result = schema.safeParse(env);
  const jwt = readJwtSettings(env);
  if (!result.success || jwt.problems.length > 0) {
    const issues = result.error?.issues ?? [];
    const variables = new Set(issues.map((issue) => issue.path[0] as EdgeVariable));
    throw new ConfigurationError([...variables, ...jwt.problems]);
  }
  const values = result.data;
  return Object.freeze({
    backendUrls: Object.freeze(values.BACKEND_URLS),
    backendTokenSecret: values.BACKEND_TOKEN_SECRET,
    databaseUrl: values.DATABASE_URL,
    databaseEndpoint: values.DATABASE_ENDPOINT,
    limitsEnabled: values.LIMITS_ENABLED === "true",
    upstash: upstashOf(values.UPSTASH_REDIS_REST_URL, values.UPSTASH_REDIS_REST_TOKEN),
    jwt: jwt.settings,
    allowedOrigins: Object.freeze(values.ALLOWED_ORIGINS),
    requestBytesMax: values.REQUEST_BYTES_MAX,
    requestTimeoutMs: values.REQUEST_TIMEOUT_MS,
    clientAddressHeader: values.CLIENT_ADDRESS_HEADER,
    logLevel: values.LOG_LEVEL,
  });
}

function upstashOf(url: string | undefined, token: string | undefined): EdgeConfig["upstash"] {
  return url === undefined || token === undefined ? undefined : Object.freeze({ url, token });
}

/** Scheme, host and maybe port, spelled as browsers do. */
function isOrigin(text: string): boolean {
  return hasUrl(text, ({ origin }) => origin === text);
}

function hasUrl(text: string, property: (url: URL) => boolean): boolean {
  return URL.canParse(text) && property(new URL(text));
}

/** A variable that is set to nothing counts as not set, as in `.env` files. */
/** Environment variables are text; `coerce` would take `""`, `true` and `1e3` as well. */
function wholeNumber(min: number, max: number, unset: number) {
  const text = z
    .string()
    .regex(/^\d{1,15}$/)
    .transform(Number)
    .pipe(z.int().min(min).max(max));
  return z.preprocess(emptyAsUnset, text.default(unset));
}
