/** What a caller would like, if it can be had: the header `Prefer` (RFC 7240). */

/** Whether the header asks not to wait for the reply; other preferences are ignored, as the RFC has it. */
export function prefersAsync(header: string | undefined): boolean {
  const names = (header ?? "").split(",").map((preference) => preference.split(/[;=]/, 1)[0]?.trim());
  return names.some((name) => name?.toLowerCase() === "respond-async");
}
