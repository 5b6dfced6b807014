/** `/api/v1/tenants`: every tenant of the deployment, for operators. */
import type { Context } from "hono";
import * as tenants from "../../core/administration/tenants.ts";
import { administrationCall } from "./administration-call.ts";
import type { EdgeEnv } from "./edge-env.ts";
import { readJsonBody, readQuery } from "./read-input.ts";

/** A page of tenants, by id. */
export async function listTenants(c: Context<EdgeEnv>): Promise<Response> {
  return c.json(await tenants.listTenants(administrationCall(c), readQuery(c)));
}

/** Makes a tenant: 201. */
export async function postTenant(c: Context<EdgeEnv>): Promise<Response> {
  const tenant = await tenants.createTenant(administrationCall(c), await readJsonBody(c));
  c.header("Location", `/api/v1/tenants/${tenant.id}`);
  return c.json(tenant, 201);
}

/** One tenant. */
export async function getTenant(c: Context<EdgeEnv>): Promise<Response> {
  return c.json(await tenants.readTenant(administrationCall(c), tenantId(c)));
}

/** Changes parts of a tenant. */
export async function patchTenant(c: Context<EdgeEnv>): Promise<Response> {
  const body = await readJsonBody(c);
  return c.json(await tenants.patchTenant(administrationCall(c), tenantId(c), body));
}

function tenantId(c: Context<EdgeEnv>): string {
  return c.req.param("id") ?? "";
}
