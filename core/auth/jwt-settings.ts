/** How callers' JWTs are verified, as both programs read it from their environment. */
import * as z from "zod";

/** A shorter secret would be weaker than the hash (RFC 7518, section 3.2). */
const SHARED_SECRET_BYTES_MIN = 32;
const CLAIM_CHARACTERS_MAX = 128;
const TEXT_CHARACTERS_MAX = 512;
const TENANT_CLAIM_DEFAULT = "tenant";
const SCOPE_CLAIM_DEFAULT = "scope";
/** Where plain HTTP cannot be listened to. */
const LOOPBACK_HOSTS = ["localhost", "127.0.0.1", "[::1]"];

/** Checked settings. */
export interface JwtSettings {
  readonly issuer: string;
  readonly audience: string;
  readonly keys:
    | { readonly kind: "jwks"; readonly url: string }
    | { readonly kind: "secret"; readonly secret: string };
  readonly tenantClaim: string;
  readonly scopeClaim: string;
  /** Whether a token may grant the scope `operator`. */
  readonly allowOperator: boolean;
}

/** What each variable must be, and what it is for; also the list of them. */
export const JWT_VARIABLES = {
  JWT_ISSUER: {
    expectation: "the issuer of callers' tokens; needed as soon as any other JWT variable is set",
    effect: "the `iss` that tokens must have",
  },
  JWT_AUDIENCE: {
    expectation: "the name of this gateway in tokens; needed as soon as any other JWT variable is set",
    effect: "the `aud` that tokens must have",
  },
  JWT_JWKS_URL: {
    expectation:
      "the issuer's JWKS, an https URL (http on loopback only) without credentials; this or JWT_SHARED_SECRET, not both",
    effect: "the keys that tokens are verified with: RS256, ES256, EdDSA",
  },
  JWT_SHARED_SECRET: {
    expectation: `at least ${SHARED_SECRET_BYTES_MIN} bytes, no PEM, not BACKEND_TOKEN_SECRET; this or JWT_JWKS_URL, not both`,
    effect: "the secret that tokens are verified with: HS256",
  },
  JWT_TENANT_CLAIM: {
    expectation: `unset (${TENANT_CLAIM_DEFAULT}), or the name of a claim`,
    effect: "the claim that names the tenant",
  },
  JWT_SCOPE_CLAIM: {
    expectation: `unset (${SCOPE_CLAIM_DEFAULT}), or the name of a claim`,
    effect: "the claim that lists the scopes",
  },
  JWT_ALLOW_OPERATOR: {
    expectation: "unset (false), true or false",
    effect: "whether a token may grant the scope operator",
  },
} as const;

/** One of {@link JWT_VARIABLES}. */
export type JwtVariable = keyof typeof JWT_VARIABLES;

const text = z.string().min(1).max(TEXT_CHARACTERS_MAX);
const claimName = z.string().min(1).max(CLAIM_CHARACTERS_MAX);

const schema = z.object({
  JWT_ISSUER: optional(text),
  JWT_AUDIENCE: optional(text),
  JWT_JWKS_URL: optional(z.url({ protocol: /^https?$/ }).refine(isSafeUrl)),
  JWT_SHARED_SECRET: optional(z.string().refine(isSecret)),
  JWT_TENANT_CLAIM: optional(claimName),
  JWT_SCOPE_CLAIM: optional(claimName),
  JWT_ALLOW_OPERATOR: optional(z.enum(["true", "false"])),
});

/**
 * Reads the JWT variables of an environment; unset all of them and `settings` is undefined: JWTs are refused.
 *
 * @returns in `problems` the variables that are wrong, or missing beside those that are set; each once
 */
export function readJwtSettings(env: object): { settings: JwtSettings | undefined; problems: JwtVariable[] } {
  const parsed = schema.safeParse(env);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => issue.path[0] as JwtVariable);
    return { settings: undefined, problems: [...new Set(problems)] };
  }
  const values = parsed.data;
  // "false" is what the variable means when it is not set.
  const isSet = Object.values(values).some((value) => value !== undefined && value !== "false");
  if (!isSet) return { settings: undefined, problems: [] };
  const { JWT_ISSUER: issuer, JWT_AUDIENCE: audience, JWT_JWKS_URL: url, JWT_SHARED_SECRET: secret } = values;
  const problems: JwtVariable[] = [];
  if (issuer === undefined) problems.push("JWT_ISSUER");
  if (audience === undefined) problems.push("JWT_AUDIENCE");
  if ((url === undefined) === (secret === undefined)) problems.push("JWT_JWKS_URL", "JWT_SHARED_SECRET");
  // Whoever signs callers' tokens must not be able to sign the edge's.
  else if (secret !== undefined && "BACKEND_TOKEN_SECRET" in env && env.BACKEND_TOKEN_SECRET === secret) {
    problems.push("JWT_SHARED_SECRET");
  }
  const keys =
    url !== undefined
      ? ({ kind: "jwks", url } as const)
      : secret !== undefined && ({ kind: "secret", secret } as const);
  if (problems.length > 0 || issuer === undefined || audience === undefined || !keys) {
    return { settings: undefined, problems };
  }
  const settings = Object.freeze({
    issuer,
    audience,
    keys,
    tenantClaim: values.JWT_TENANT_CLAIM ?? TENANT_CLAIM_DEFAULT,
    scopeClaim: values.JWT_SCOPE_CLAIM ?? SCOPE_CLAIM_DEFAULT,
    allowOperator: values.JWT_ALLOW_OPERATOR === "true",
  });
  return { settings, problems };
}

/** A variable that is set to nothing counts as not set, as in `.env` files. */
function optional<Schema extends z.ZodType>(variable: Schema) {
  return z.preprocess((value) => (value === "" ? undefined : value), variable.optional());
}

/** Keys that come over plain HTTP could be anybody's. */
function isSafeUrl(url: string): boolean {
  if (!URL.canParse(url)) return false;
  const { protocol, hostname, username, password } = new URL(url);
  return username === "" && password === "" && (protocol === "https:" || LOOPBACK_HOSTS.includes(hostname));
}

/** A public key in PEM form is no secret: with it anybody could sign. */
function isSecret(secret: string): boolean {
  return (
    new TextEncoder().encode(secret).byteLength >= SHARED_SECRET_BYTES_MIN && !secret.includes("-----BEGIN")
  );
}
