/** The client library in a Worker, for a test: each request goes the three ways, and is answered with what they brought. */
import { createClient } from "../../edge/client/index.ts";

interface WorkerEnv {
  readonly PARLEY_URL: string;
  readonly PARLEY_KEY: string;
}

export default {
  async fetch(_request: Request, env: WorkerEnv): Promise<Response> {
    const client = createClient({ url: env.PARLEY_URL, credential: env.PARLEY_KEY });
    const hello = { receiverId: "assistant", text: "hello" };
    const sent = await client.send(hello);
    const streamed = await client.stream(hello).reply;
    const session = client.connect();
    const turns = ["one", "two"].map((text) => session.send({ receiverId: "assistant", text }));
    const replies = await Promise.all(turns.map(({ reply }) => reply));
    session.close();
    await session.closed;
    return Response.json([sent, streamed, ...replies].map(({ text }) => text));
  },
};
