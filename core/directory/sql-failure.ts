/**
 * What a failed statement means to its caller, by SQLSTATE (PostgreSQL manual, appendix A). One table for all
 * drivers; reading the SQLSTATE out of a driver's error is the adapter's part.
 */
import { ParleyError } from "../errors/parley-error.ts";

/**
 * Classes and codes after which the same statement may succeed later: lost connections (08), insufficient
 * resources (53), operator intervention and timeouts (57), a login or database that is not there at the moment
 * (28, 3D), lost races between transactions (40001, 40P01), a server that is read-only while another takes over
 * (25006), a disk that fails (58).
 */
const UNAVAILABLE_PREFIXES = ["08", "53", "57014", "57P", "28", "3D", "40001", "40P01", "25006", "58"];

/** `08P01` stands in a class of connection failures, but says that the statement and its parameters disagree. */
const PROTOCOL_VIOLATION = "08P01";

/** The error for a statement that the database refused with this SQLSTATE. */
export function statementFailure(sqlState: string, cause: unknown): ParleyError {
  const unavailable =
    sqlState !== PROTOCOL_VIOLATION && UNAVAILABLE_PREFIXES.some((prefix) => sqlState.startsWith(prefix));
  return unavailable
    ? databaseUnavailable(cause)
    : new ParleyError("internal", "internal error: the database refused a statement", { cause });
}

/** The error for a database that cannot be reached, or does not answer in time. */
export function databaseUnavailable(cause: unknown): ParleyError {
  return new ParleyError("unavailable", "the database cannot be reached at the moment", {
    retryable: true,
    cause,
  });
}
