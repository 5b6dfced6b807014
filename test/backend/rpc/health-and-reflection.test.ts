/** What tools rely on: health and reflection, open to everybody. */
import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HealthCheckResponse_ServingStatus as Status } from "../../../proto/gen/grpc/health/v1/health_pb.js";
import { ServerReflection as V1 } from "../../../proto/gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as V1Alpha } from "../../../proto/gen/grpc/reflection/v1alpha/reflection_pb.js";
import { startBackend } from "./backend-fixture.ts";

let backend: Awaited<ReturnType<typeof startBackend>>;
beforeAll(async () => {
  backend = await startBackend();
});
afterAll(() => backend.stop());

describe("grpc.health.v1", () => {
  it("checks the process and each service, lists them, and does not know others", async () => {
    const { healthClient } = backend;
    expect((await healthClient.check({})).status).toBe(Status.SERVING);
    expect((await healthClient.check({ service: "parley.v1.AgentService" })).status).toBe(Status.SERVING);
    await expect(healthClient.check({ service: "nope" })).rejects.toThrow(/not_found/);
    expect(Object.keys((await healthClient.list({})).statuses)).toEqual(["", "parley.v1.AgentService"]);
  });

  it("tells watchers when serving stops, and keeps a watch on an unknown service open", async () => {
    const other = await startBackend();
    const leaving = new AbortController();
    const seen: Status[] = [];
    const watch = (async () => {
      for await (const { status } of other.healthClient.watch({}, { signal: leaving.signal })) {
        seen.push(status);
        if (status === Status.SERVING) other.health.stopServing();
        else break;
      }
    })();
    await watch;
    expect(seen).toEqual([Status.SERVING, Status.NOT_SERVING]);
    for await (const { status } of other.healthClient.watch(
      { service: "nope" },
      { signal: leaving.signal },
    )) {
      expect(status).toBe(Status.SERVICE_UNKNOWN);
      break;
    }
    leaving.abort();
    await other.stop();
  });
});

describe.each([
  ["v1", V1],
  ["v1alpha", V1Alpha],
] as const)("reflection %s", (_, service) => {
  type Request = { messageRequest: { case: string; value: unknown } };
  async function ask(...requests: Request["messageRequest"][]) {
    const client = createClient(service as typeof V1, backend.transports.grpc);
    async function* send() {
      for (const messageRequest of requests) yield { messageRequest } as never;
    }
    const answers = [];
    for await (const answer of client.serverReflectionInfo(send())) answers.push(answer.messageResponse);
    return answers;
  }

  it("lists the services", async () => {
    const [answer] = await ask({ case: "listServices", value: "" });
    const services = answer?.case === "listServicesResponse" ? answer.value.service : [];
    const names = services.map(({ name }) => name);
    expect(names).toEqual([
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
      "parley.v1.AgentService",
      "parley.v1.KnowledgeService",
    ]);
  });

  it("gives files by name and by symbol, methods and fields included, and says what it has not", async () => {
    const answers = await ask(
      { case: "fileByFilename", value: "lf/a2a/v1/a2a.proto" },
      { case: "fileContainingSymbol", value: "parley.v1.AgentService.ProcessMessage" },
      { case: "fileContainingSymbol", value: ".parley.v1.A2AMessage" },
      { case: "fileContainingSymbol", value: "no.such.Thing" },
      { case: "allExtensionNumbersOfType", value: "google.protobuf.FieldOptions" },
    );
    expect(answers.map((answer) => answer.case)).toEqual([
      "fileDescriptorResponse",
      "fileDescriptorResponse",
      "fileDescriptorResponse",
      "errorResponse",
      "allExtensionNumbersResponse",
    ]);
  });
});
