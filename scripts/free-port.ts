/** Whether a port can be listened on, and which one could be. */
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";

/** A port to be listened on, and the variable that sets it. */
export interface PortRequest {
  readonly host: string;
  readonly port: number;
  readonly variable: string;
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: "is in use by another program",
  EACCES: "needs privileges that this user does not have",
  EADDRNOTAVAIL: "is not an address of this machine",
};

/** A port that cannot be had; the message says what to do about it. */
export class PortUnavailableError extends Error {
  override readonly name = "PortUnavailableError";
}

/**
 * Checks that a port is free, or finds one when 0 is asked for. Between this and the listening somebody else may
 * still take it; then the program that wanted it says so.
 *
 * @returns the port, never 0
 */
export async function requireFreePort({ host, port, variable }: PortRequest): Promise<number> {
  const server = createServer();
  try {
    server.listen({ host, port, exclusive: true });
    await once(server, "listening");
    return (server.address() as AddressInfo).port;
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "";
    const reason = REASONS[code] ?? `cannot be listened on (${code || cause})`;
    const example = `for example ${variable}=${(port % 65_535) + 1} npm start`;
    throw new PortUnavailableError(`port ${port} on ${host} ${reason}; set ${variable}, ${example}`, {
      cause,
    });
  } finally {
    server.close();
  }
}
