/** Which services answer strangers: those that are named, and no other. */
import { Code, createContextValues, type HandlerContext } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { createRequestGate } from "../../../backend/rpc/request-gate.ts";

describe("a service that is new", () => {
  it("asks who calls until somebody has named it as open", async () => {
    const gate = createRequestGate({
      verifyCredential: async () => ({ ok: false, reason: "missing" }),
      backendTokenKey: undefined,
      now: Date.now,
      onRefused: () => {},
    });
    const contextOf = (typeName: string) =>
      ({
        ...{ service: { typeName }, method: { name: "Do" }, values: createContextValues() },
        ...{ requestHeader: new Headers(), responseHeader: new Headers() },
      }) as unknown as HandlerContext;
    await expect(gate(contextOf("parley.v1.NewService"))).rejects.toMatchObject({
      code: Code.Unauthenticated,
    });
    for (const open of ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]) {
      await expect(gate(contextOf(open))).resolves.toBeUndefined();
    }
  });
});
