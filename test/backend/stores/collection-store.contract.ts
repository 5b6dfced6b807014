/** What a store of collections guarantees on every database; on a database with the schema of this version. */
import { beforeEach, describe, expect, it } from "vitest";
import { SqlCollectionStore } from "../../../backend/stores/sql-collection-store.ts";
import type { SqlClient } from "../../../core/directory/sql-client.ts";

const SPEC = { embeddingModel: "builtin/lexical-1", dimension: 384 };
const OTHER_SPEC = { embeddingModel: "ollama/nomic-embed-text", dimension: 768 };

export function collectionStoreContract(client: () => SqlClient): void {
  describe("a store of collections", () => {
    const store = () => new SqlCollectionStore(client());
    beforeEach(() => client().query("DELETE FROM knowledge_collections", []));

    it("makes a collection once, however many ask for it at once, and keeps its first model", async () => {
      const specs = [SPEC, OTHER_SPEC, SPEC, OTHER_SPEC];
      const made = await Promise.all(specs.map((spec) => store().ensure("acme", "manuals", spec)));
      expect(new Set(made.map((collection) => JSON.stringify(collection))).size).toBe(1);
      expect(made[0]).toMatchObject({ tenantId: "acme", name: "manuals", active: { generation: 1 } });
      expect(await store().find("acme", "manuals")).toEqual(made[0]);
    });

    it("finds and lists the tenant's own only", async () => {
      for (const name of ["b", "a", "c"]) await store().ensure("acme", name, SPEC);
      await store().ensure("globex", "z", SPEC);
      expect(await store().find("globex", "a")).toBeUndefined();
      const names = async (page: { limit: number; after?: string }) =>
        (await store().list("acme", page)).map(({ name }) => name);
      expect(await names({ limit: 10 })).toEqual(["a", "b", "c"]);
      expect(await names({ limit: 1, after: "a" })).toEqual(["b"]);
    });

    it("builds the next generation beside the one in use, and switches to it at once", async () => {
      await store().ensure("acme", "manuals", SPEC);
      const begun = await store().beginGeneration("acme", "manuals", OTHER_SPEC);
      expect(begun.active).toEqual({ generation: 1, ...SPEC });
      expect(begun.building).toEqual({ generation: 2, ...OTHER_SPEC });
      const switched = await store().activateGeneration("acme", "manuals", 2);
      expect(switched).toMatchObject({ active: { generation: 2, ...OTHER_SPEC }, building: undefined });
      expect(await store().activateGeneration("acme", "manuals", 2)).toEqual(switched);
    });

    it("goes on with the same generation for the same model, and begins another for another one", async () => {
      await store().ensure("acme", "manuals", SPEC);
      await store().beginGeneration("acme", "manuals", OTHER_SPEC);
      expect((await store().beginGeneration("acme", "manuals", OTHER_SPEC)).building?.generation).toBe(2);
      const third = { ...OTHER_SPEC, dimension: 256 };
      expect((await store().beginGeneration("acme", "manuals", third)).building?.generation).toBe(3);
      await expect(store().activateGeneration("acme", "manuals", 2)).rejects.toMatchObject({
        code: "conflict",
      });
    });

    it("never gives a generation number twice, even to a collection made again after it was deleted", async () => {
      await store().ensure("acme", "manuals", SPEC);
      await store().beginGeneration("acme", "manuals", OTHER_SPEC);
      await store().delete("acme", "manuals");
      await store().delete("acme", "manuals");
      expect(await store().find("acme", "manuals")).toBeUndefined();
      expect(await store().list("acme", { limit: 10 })).toEqual([]);
      const again = await store().ensure("acme", "manuals", OTHER_SPEC);
      expect(again).toMatchObject({ active: { generation: 3, ...OTHER_SPEC }, building: undefined });
      expect((await store().ensure("acme", "manuals", SPEC)).active).toEqual(again.active);
    });

    it("knows no generation of a collection that is not there", async () => {
      await expect(store().beginGeneration("acme", "none", SPEC)).rejects.toMatchObject({
        code: "not_found",
      });
      await expect(store().activateGeneration("acme", "none", 1)).rejects.toMatchObject({ code: "conflict" });
    });
  });
}
