/** Names a server as its health and its limits are kept: by host and port, whatever else its address says. */

/** `host:port` of an address, which may lack its scheme, as Ollama's may; the text itself when it is none. */
export function hostOf(address: string): string {
  const url = URL.parse(address.includes("://") ? address : `http://${address}`);
  return url?.host || address;
}
