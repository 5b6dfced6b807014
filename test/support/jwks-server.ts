/** A token issuer: keys made by jose, and a real JWKS endpoint on loopback that can misbehave. */
import http from "node:http";
import type { AddressInfo } from "node:net";
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from "jose";

export const ISSUER = "https://issuer.example";
export const AUDIENCE = "parley";

/** A pair of keys with its name. */
export interface IssuerKey {
  kid: string;
  alg: string;
  privateKey: CryptoKey;
  jwk: JWK;
}

/** Makes a pair of keys. */
export async function makeIssuerKey(kid: string, alg = "ES256"): Promise<IssuerKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { kid, alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: "sig" } };
}

/** Claims of a token, good or bad. */
export type Claims = Readonly<Record<string, unknown>>;

/** Signs claims over good ones; `undefined` takes a claim away. */
export function signToken(
  { kid, alg, privateKey }: Pick<IssuerKey, "alg"> & { kid?: string; privateKey: CryptoKey | Uint8Array },
  claims: Claims = {},
): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const good = { iss: ISSUER, aud: AUDIENCE, sub: "tess", tenant: "default", iat: now, exp: now + 300 };
  const payload = { ...good, scope: "messages:send agents:read", ...claims };
  return new SignJWT(JSON.parse(JSON.stringify(payload)))
    .setProtectedHeader({ alg, ...(kid !== undefined && { kid }) })
    .sign(privateKey);
}

/** A running endpoint. */
export interface JwksServer {
  url: string;
  /** Published when nothing else is told to be answered. */
  keys: JWK[];
  /** How often it was asked. */
  requests: number;
  /** In place of the keys; back to undefined and it behaves again. */
  misbehave: ((request: http.IncomingMessage, response: http.ServerResponse) => void) | undefined;
  stop(): void;
}

/** Starts an endpoint that publishes the keys. */
export async function startJwksServer(...keys: IssuerKey[]): Promise<JwksServer> {
  const listener = http.createServer((request, response) => {
    endpoint.requests += 1;
    if (endpoint.misbehave) return endpoint.misbehave(request, response);
    response.writeHead(200, { "content-type": "application/jwk-set+json" });
    response.end(JSON.stringify({ keys: endpoint.keys }));
  });
  await new Promise<void>((resolve) => {
    listener.listen(0, "127.0.0.1", resolve);
  });
  const endpoint: JwksServer = {
    url: `http://127.0.0.1:${(listener.address() as AddressInfo).port}/jwks`,
    keys: keys.map(({ jwk }) => jwk),
    requests: 0,
    misbehave: undefined,
    stop() {
      listener.close();
      listener.closeAllConnections();
    },
  };
  return endpoint;
}
