/** A content as the text that a model is asked, and that the conversation remembers. */
import { toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { textOf } from "../../core/messages/envelope.ts";
import type { Content } from "../../proto/gen/parley/v1/agent_service_pb.js";

/** Its text parts and, as JSON, its data parts; files are left out. */
export function questionText(content: Content): string {
  const data = content.parts.flatMap(({ content: part }) =>
    part.case === "data" ? [JSON.stringify(toJson(ValueSchema, part.value))] : [],
  );
  return [textOf(content), ...data].filter((text) => text !== "").join("\n");
}
