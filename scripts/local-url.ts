/** URLs of servers on this machine, as a client on this machine reaches them. */

/** "Any address" can be listened on, and is reached by the loopback one. */
const REACHABLE: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/** `host:port`, an IPv6 host in brackets. */
export function hostAndPort(host: string, port: number): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Where a server that listens on host and port is reached. */
export function localUrl(host: string, port: number): string {
  return `http://${hostAndPort(REACHABLE[host] ?? host, port)}`;
}

/** The same URL, reachable: a program that listens on any address may say so when asked where it is. */
export function toLocalUrl(url: string): string {
  const { hostname, port } = new URL(url);
  return localUrl(hostname.replace(/^\[(.*)\]$/, "$1"), Number(port));
}
