/** Takes the credential out of an `Authorization: Bearer …` header (RFC 6750, section 2.1). */

/** Longest credential that is looked at; anything longer is refused unread. Tokens with many claims need some room. */
export const CREDENTIAL_CHARACTERS_MAX = 8_192;

/** `Bearer`, and the spaces around the credential. */
const SCHEME_CHARACTERS_MAX = 16;

/** The credential, or undefined when the header is absent, of another scheme, or too long. */
export function bearerCredential(header: string | null | undefined): string | undefined {
  if (!header || header.length > CREDENTIAL_CHARACTERS_MAX + SCHEME_CHARACTERS_MAX) return undefined;
  const credential = /^bearer +([^\s]+) *$/i.exec(header)?.[1];
  return credential && credential.length <= CREDENTIAL_CHARACTERS_MAX ? credential : undefined;
}
