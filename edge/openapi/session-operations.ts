/** What `/openapi.json` says of the routes of sessions and peers. */
import * as z from "zod";
import type { Operation } from "../http/route.ts";
import { sessionRequestSchema } from "../http/session-routes.ts";
import { envelopeSchema } from "./views.ts";

const sessionSchema = z.object({
  sessionId: z.string(),
  path: z.string(),
  ticket: z.string(),
  ticketExpiresInSeconds: z.number(),
  resumeToken: z.string(),
  resumeExpiresInSeconds: z.number(),
  limits: z.object({
    frameBytesMax: z.int(),
    framesPerSecondMax: z.int(),
    turnsInFlightMax: z.int(),
    socketsMax: z.int(),
  }),
});

export const postSession: Operation = {
  id: "createSession",
  summary: "Begin a WebSocket session, or let another client into one: a ticket and a resume token",
  body: { schema: sessionRequestSchema, required: false },
  answers: { 201: { description: "What the client connects with", schema: sessionSchema } },
};

export const deleteSession: Operation = {
  id: "endSession",
  summary: "End a session and its connections",
  answers: { 204: { description: "Done" } },
};

export const openSocket: Operation = {
  id: "openSession",
  summary: "The WebSocket of a session; docs/sessions.md has its frames",
  query: z.object({
    after: z.string().optional().describe("The last `sessionSequence` that the client has"),
    session: z.string().optional().describe("A session of the caller's own, for callers with a credential"),
  }),
  headers: { "Sec-WebSocket-Protocol": "`parley.v1`, and the ticket or the resume token" },
  answers: { 101: { description: "A2AMessage frames, both ways" } },
};

export const postPeerMessage: Operation = {
  id: "postPeerMessage",
  summary: "For the gateway's own backends: a gRPC caller's message to a peer, and its reply",
  body: { schema: envelopeSchema },
  answers: { 200: { description: "The peer's reply", schema: envelopeSchema } },
};
