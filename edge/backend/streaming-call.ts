/**
 * Calls that are answered by a stream, over the Connect protocol: as `@connectrpc/connect-web` makes them, whose parts
 * these are, but for the reading. It puts a stream of its own between the body and its reader, which in workerd costs
 * several times what the rest of an event does.
 */
import type { DescMessage, DescMethodStreaming, MessageShape } from "@bufbuild/protobuf";
import { Code, ConnectError, createContextValues, type Transport } from "@connectrpc/connect";
import {
  compressedFlag,
  createClientMethodSerializers,
  encodeEnvelope,
  runStreamingCall,
} from "@connectrpc/connect/protocol";
import {
  endStreamFlag,
  endStreamFromJson,
  requestHeader,
  validateResponse,
} from "@connectrpc/connect/protocol-connect";
import { EnvelopeReader, streamCut } from "./envelope-reader.ts";

/** @param baseUrl of an address, without a path */
export function createStreamingCall(baseUrl: string, fetch: typeof globalThis.fetch): Transport["stream"] {
  return (method, signal, timeoutMs, header, input, contextValues) => {
    const { serialize, parse } = createClientMethodSerializers(method, true);
    return runStreamingCall({
      ...(signal && { signal }),
      ...(timeoutMs !== undefined && { timeoutMs }),
      req: {
        stream: true,
        service: method.parent,
        method,
        requestMethod: "POST",
        url: `${baseUrl}/${method.parent.typeName}/${method.name}`,
        header: requestHeader(method.methodKind, true, timeoutMs, header, false),
        contextValues: contextValues ?? createContextValues(),
        message: input,
      },
      next: async (request) => {
        const message = await onlyMessage(method, request.message);
        const response = await fetch(request.url, {
          method: request.requestMethod,
          headers: request.header,
          signal: request.signal,
          body: encodeEnvelope(0, serialize(message)),
        });
        validateResponse(method.methodKind, true, response.status, response.headers);
        if (!response.body) throw new ConnectError("the answer has no body", Code.Unavailable);
        const answer = { header: response.headers, trailer: new Headers() };
        const reader = new EnvelopeReader(response.body);
        return { ...request, ...answer, message: messagesOf(reader, parse, answer) };
      },
    });
  };
}

async function onlyMessage<I extends DescMessage>(
  method: DescMethodStreaming<I>,
  input: AsyncIterable<MessageShape<I>>,
): Promise<MessageShape<I>> {
  const first = await input[Symbol.asyncIterator]().next();
  if (first.done || method.methodKind !== "server_streaming")
    throw new ConnectError(`${method.name} is not called with one message`, Code.Internal);
  return first.value;
}

/** Its iterator has no `return`: a call is ended by its signal. */
function messagesOf<Message>(
  reader: EnvelopeReader,
  parse: (data: Uint8Array) => Message,
  answer: { readonly header: Headers; readonly trailer: Headers },
): AsyncIterable<Message> {
  let isEnded = false;
  const next = async (): Promise<IteratorResult<Message, undefined>> => {
    while (true) {
      const envelope = reader.take();
      if (!envelope) {
        if (await reader.read()) continue;
        if (!isEnded) throw streamCut();
        return { done: true, value: undefined };
      }
      if (isEnded) throw new ConnectError("something came after the end of the stream", Code.Internal);
      if ((envelope.flags & compressedFlag) !== 0)
        throw new ConnectError("the stream is compressed, and was not asked to be", Code.Internal);
      if ((envelope.flags & endStreamFlag) === 0) return { done: false, value: parse(envelope.data) };
      isEnded = true;
      end(envelope.data, answer);
    }
  };
  return { [Symbol.asyncIterator]: () => ({ next }) };
}

/** @throws ConnectError the failure that the stream ends with */
function end(data: Uint8Array, { header, trailer }: { header: Headers; trailer: Headers }): void {
  const { error, metadata } = endStreamFromJson(data);
  if (error) {
    header.forEach((value, key) => {
      error.metadata.append(key, value);
    });
    throw error;
  }
  metadata.forEach((value, key) => {
    trailer.set(key, value);
  });
}
