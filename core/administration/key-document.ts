/** An API key as administrators ask for it and as it is shown to them: never with its secret's hash. */
import * as z from "zod";
import { SCOPES } from "../auth/principal.ts";
import { keyLimitsSchema } from "../limits/limits.ts";
import { epochMs, isoTime } from "./actor.ts";

const SUBJECT_CHARACTERS_MAX = 128;
const LABEL_CHARACTERS_MAX = 200;
const OVERLAP_SECONDS_DEFAULT = 86_400;
const OVERLAP_SECONDS_MAX = 30 * 86_400;

const expiresAt = z.iso
  .datetime({ offset: true })
  .describe(
    "When it ends; without it the key does not expire. Needed by a caller whose own credential expires",
  );

/** A new key. */
export const newKeySchema = z.strictObject({
  subject: z
    .string()
    .min(1)
    .max(SUBJECT_CHARACTERS_MAX)
    .regex(/^[^\p{Cc}]*$/u, "must have no control characters")
    .describe("The caller's name within the tenant: the sender of its messages"),
  label: z.string().max(LABEL_CHARACTERS_MAX).default("").describe("What the key is for, in your own words"),
  scopes: z
    .array(z.enum(SCOPES))
    .min(1)
    .max(SCOPES.length)
    .describe("What it may do; at most what the caller may"),
  expiresAt: expiresAt.optional(),
  limits: keyLimitsSchema.prefault({}),
});

/** How a key is rotated. */
export const rotationSchema = z.strictObject({
  overlapSeconds: z
    .int()
    .min(0)
    .max(OVERLAP_SECONDS_MAX)
    .default(OVERLAP_SECONDS_DEFAULT)
    .describe("How long the old key works on"),
  expiresAt: expiresAt
    .optional()
    .describe("When the new key ends; default: as long a life as the old one had"),
});

/** A key as it is shown: never its secret. Times are ISO 8601. */
export interface KeyView {
  id: string;
  subject: string;
  label: string;
  scopes: string[];
  limits: object;
  status: "active" | "expired" | "revoked";
  createdAt: string;
  createdBy: string;
  expiresAt: string | null;
  revokedAt: string | null;
  /** The key that it was rotated from. */
  replaces: string | null;
}

/** A key that was just made, with what its owner sees this once. */
export interface NewKeyView extends KeyView {
  key: string;
}

/** A key as {@link KEY_COLUMNS} selects it. */
export interface KeyRow {
  id: string;
  subject: string;
  label: string;
  scopes: string[];
  limits: object;
  is_expired: boolean;
  created_by: string;
  replaces: string | null;
  created_at_ms: number;
  expires_at_ms: number | null;
  revoked_at_ms: number | null;
}

/** Columns of `api_keys`, never the hash of the secret. */
export const KEY_COLUMNS = `
  id, subject, label, scopes, limits, created_by, replaces, coalesce(expires_at <= now(), false) AS is_expired,
  ${epochMs("created_at")} AS created_at_ms, ${epochMs("expires_at")} AS expires_at_ms,
  ${epochMs("revoked_at")} AS revoked_at_ms`;

/** What is shown of a row. */
export function keyView(row: KeyRow): KeyView {
  const { id, subject, label, scopes, limits, replaces } = row;
  const ended = row.is_expired ? "expired" : "active";
  return {
    id,
    subject,
    label,
    scopes,
    limits,
    status: row.revoked_at_ms === null ? ended : "revoked",
    createdAt: isoTime(row.created_at_ms),
    createdBy: row.created_by,
    expiresAt: isoTime(row.expires_at_ms),
    revokedAt: isoTime(row.revoked_at_ms),
    replaces,
  };
}
