/** The rendered configuration as the real workerd understands it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { workerdPath } from "../../scripts/edge-program.ts";
import { requireFreePort } from "../../scripts/free-port.ts";
import { type GuardedProcess, spawnGuarded } from "../../scripts/guarded-process.ts";
import { renderWorkerdConfig } from "../../scripts/workerd-config.ts";
import { eventually } from "./start-fixture.ts";

const MODULE = `
export default {
  async fetch(request, variables) {
    const { pathname } = new URL(request.url);
    const flags = { toolbox: typeof globalThis.navigator, node: typeof globalThis.process };
    return Response.json(pathname === "/flags" ? flags : variables);
  },
};
`;

const VARIABLES = {
  PLAIN: "text",
  EMPTY: "",
  QUOTES: `"double" 'single' \\ back\\nslash \\x41`,
  LINES: "one\ntwo\r\n\tthree",
  CONTROL: "\u0001\u001f\u007f0f",
  WIDE: "żółć 漢字 🦢",
  INJECTION: '"), (name = "X", text = "y',
};

describe("renderWorkerdConfig", () => {
  let directory: string;
  let workerd: GuardedProcess;
  let url: string;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "parley-workerd-"));
    const port = await requireFreePort({ host: "127.0.0.1", port: 0, variable: "PORT" });
    url = `http://127.0.0.1:${port}`;
    const config = renderWorkerdConfig({
      modulePath: "worker/index.js",
      compatibilityDate: "2026-11-01",
      compatibilityFlags: ["global_navigator", "nodejs_compat"],
      variables: VARIABLES,
      address: `127.0.0.1:${port}`,
      durableObjects: [],
      storageDirectory: directory,
    });
    writeFileSync(join(directory, "edge.capnp"), config.replace("worker/index.js", "index.js"));
    writeFileSync(join(directory, "index.js"), MODULE);
    workerd = await spawnGuarded({
      command: [workerdPath(), "serve", join(directory, "edge.capnp")],
      directory,
      environment: {},
      orphanGraceSeconds: 1,
      channel: false,
    });
    const answers = () =>
      fetch(url).then(
        () => true,
        () => false,
      );
    await eventually(answers, "workerd serves");
  });

  afterAll(async () => {
    workerd.kill();
    await workerd.exited;
    rmSync(directory, { recursive: true });
  });

  it("hands every variable to the worker unchanged, whatever characters it has", async () => {
    expect(await (await fetch(url)).json()).toEqual(VARIABLES);
  });

  it("sets the compatibility flags", async () => {
    expect(await (await fetch(`${url}/flags`)).json()).toEqual({ toolbox: "object", node: "object" });
  });
});
