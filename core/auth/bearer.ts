/** Takes the credential out of an `Authorization: Bearer …` header (RFC 6750, section 2.1). */

/** Longest credential that is looked at; anything longer is refused unread. */
const CREDENTIAL_CHARACTERS_MAX = 4096;

/** The credential, or undefined when the header is absent, of another scheme, or too long. */
export function bearerCredential(header: string | null | undefined): string | undefined {
  if (!header || header.length > CREDENTIAL_CHARACTERS_MAX) return undefined;
  const match = /^bearer +([^\s]+) *$/i.exec(header);
  return match?.[1];
}
