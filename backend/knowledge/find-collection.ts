/** Which collection a tenant means by a name: its own, else the one of that name that all tenants share. */
import { ParleyError } from "../../core/errors/parley-error.ts";
import type { Collection, CollectionStore } from "./collection-store.ts";
import { SHARED_TENANT_ID } from "./vector-index.ts";

/** Longest part of an unknown name that an error repeats. */
const SHOWN_CHARACTERS_MAX = 64;

/** Undefined when there is neither; another tenant's is never found. */
export async function findCollection(
  collections: Pick<CollectionStore, "find">,
  tenantId: string,
  name: string,
  signal: AbortSignal,
): Promise<Collection | undefined> {
  const [own, shared] = await Promise.all(
    [tenantId, SHARED_TENANT_ID].map((owner) => collections.find(owner, name, signal)),
  );
  return own ?? shared;
}

/** `not_found`, in the same words whether nobody has such a collection or another tenant does. */
export function collectionNotFound(name: string, advice = ""): ParleyError {
  return new ParleyError("not_found", `there is no collection "${shown(name)}"${advice}`);
}

/** An unknown name as an error repeats it. */
export function shown(name: string): string {
  return name.slice(0, SHOWN_CHARACTERS_MAX);
}
