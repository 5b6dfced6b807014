/** Groups IP addresses by who is likely to hold them, for counting. */

/** Longer than any address (RFC 4291, section 2.2, with a zone). */
const ADDRESS_CHARACTERS_MAX = 64;

/**
 * An IPv4 address as it is, an IPv6 address as its /64: whoever has one address of it has all 2^64. Anything else
 * stays as it is, cut to a bounded length and without spaces.
 */
export function networkOf(address: string): string {
  const text = address.slice(0, ADDRESS_CHARACTERS_MAX).replaceAll(/\s/g, "");
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(text);
  if (mapped?.[1]) return mapped[1];
  if (!text.includes(":")) return text;
  const [head = "", tail] = text.toLowerCase().split("::", 2);
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const last = tail === "" ? [] : tail.split(":");
    while (groups.length + last.length < 8) groups.push("0");
    groups.push(...last);
  }
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ""))
    .join(":")}::/64`;
}
