/** The OpenAPI 3.1 document of a table of routes. Made when it is asked for, from nothing but the table. */
import * as z from "zod";
import type { Answer, Operation, Route } from "../http/route.ts";
import { errorSchema } from "./views.ts";

const JSON_TYPE = "application/json";
const ERROR_REFERENCE = { $ref: "#/components/responses/Error" };

/** A JSON object of the document. */
type Part = Record<string, unknown>;

/** @param version of the product */
export function openApiDocument(routes: readonly Route[], version: string): Part {
  const paths: Record<string, Part> = {};
  for (const route of routes) {
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: describeRoute(route) };
  }
  return {
    openapi: "3.1.1",
    info: {
      title: "Parley",
      version,
      description: "A gateway for AI agents. Every failure has the same body; see `Error`.",
    },
    servers: [{ url: "/" }],
    paths,
    components: {
      securitySchemes: {
        bearer: {
          type: "http",
          scheme: "bearer",
          description: "An API key `parley_…`, or a JWT where the deployment takes them",
        },
      },
      schemas: { Error: jsonSchema(errorSchema, "output") },
      responses: {
        Error: {
          description: "What went wrong",
          content: { [JSON_TYPE]: { schema: { $ref: "#/components/schemas/Error" } } },
        },
      },
    },
  };
}

function describeRoute({ path, scopes, operation }: Route): Part {
  const { id, summary, body, answers } = operation;
  return {
    operationId: id,
    summary,
    ...(scopes.length > 0 && {
      description: `Needs the scope ${scopes.map((scope) => `\`${scope}\``).join(" or ")}.`,
      security: [{ bearer: [] }],
    }),
    parameters: [...pathParameters(path), ...queryParameters(operation), ...headerParameters(operation)],
    ...(body && {
      requestBody: {
        required: body.required ?? true,
        content: { [body.mediaType ?? JSON_TYPE]: { schema: jsonSchema(body.schema, "input") } },
      },
    }),
    responses: {
      ...Object.fromEntries(
        Object.entries(answers).map(([status, answer]) => [status, describeAnswer(answer)]),
      ),
      default: ERROR_REFERENCE,
    },
  };
}

function pathParameters(path: string): Part[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
}

function queryParameters({ query }: Operation): Part[] {
  if (!query) return [];
  const { properties = {} } = jsonSchema(query, "input") as { properties?: Record<string, Part> };
  return Object.entries(properties).map(([name, { description, ...schema }]) => ({
    name,
    in: "query",
    required: false,
    ...(description !== undefined && { description }),
    schema,
  }));
}

function headerParameters({ headers = {} }: Operation): Part[] {
  return Object.entries(headers).map(([name, description]) => ({
    name,
    in: "header",
    required: false,
    description,
    schema: { type: "string" },
  }));
}

function describeAnswer({ description, schema, mediaType, mediaTypes = [] }: Answer): Part {
  if (mediaType) return { description, content: { [mediaType]: { schema: { type: "string" } } } };
  if (!schema) return { description };
  const content = Object.fromEntries(mediaTypes.map((type) => [type, { schema: { type: "string" } }]));
  return { description, content: { [JSON_TYPE]: { schema: jsonSchema(schema, "output") }, ...content } };
}

function jsonSchema(schema: z.ZodType, io: "input" | "output"): Part {
  const {
    $schema: _,
    "~standard": __,
    ...rest
  } = z.toJSONSchema(schema, { io, unrepresentable: "any" }) as Part;
  return rest;
}
