/** Checks requests against the rules in the proto, on every surface in the same words. */
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { createValidator, type Validator } from "@bufbuild/protovalidate";
import { ParleyError } from "../../core/errors/parley-error.ts";

/** Violations named in one error; a message can have thousands. */
const VIOLATIONS_MAX = 20;

/** Checks a message; throws ParleyError `invalid_argument` that names every violation. */
export type Validate = <Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>) => void;

/** Makes the check; rules are compiled once per message type. */
export function createValidate(): Validate {
  const validator: Validator = createValidator();
  return (schema, message) => {
    const result = validator.validate(schema, message);
    if (result.kind === "valid") return;
    if (result.kind === "error") {
      throw new ParleyError("internal", "the rules of a message could not be checked", {
        cause: result.error,
      });
    }
    const violations = result.violations.slice(0, VIOLATIONS_MAX).map((violation) => ({
      field: violation.field
        .map((step) => ("name" in step ? step.name : ""))
        .filter(Boolean)
        .join("."),
      description: violation.message,
    }));
    const summary = violations.map(({ field, description }) =>
      field ? `${field}: ${description}` : description,
    );
    throw new ParleyError("invalid_argument", summary.join("; "), { details: { violations } });
  };
}
