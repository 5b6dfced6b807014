/**
 * gRPC server reflection, v1 and v1alpha, from the generated descriptors: what lets `grpcurl` list and call without
 * a proto file. Follows grpc/doc/server-reflection.md.
 */
import {
  create,
  createRegistry,
  type DescFile,
  type DescService,
  type MessageInitShape,
  type Registry,
  toBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectRouter } from "@connectrpc/connect";
import {
  type ServerReflectionRequest,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
  ServerReflection as ServerReflectionV1,
} from "../../proto/gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as ServerReflectionV1Alpha } from "../../proto/gen/grpc/reflection/v1alpha/reflection_pb.js";

/**
 * Serves reflection of the given services, and of itself; `extraFiles` declare what travels in an `Any`, such as the
 * details of errors.
 */
export function routeReflection(
  router: ConnectRouter,
  services: readonly DescService[],
  extraFiles: readonly DescFile[],
): void {
  const all = [...services, ServerReflectionV1, ServerReflectionV1Alpha];
  const respond = createResponder(all, extraFiles);
  async function* serverReflectionInfo(requests: AsyncIterable<ServerReflectionRequest>) {
    for await (const request of requests) yield respond(request);
  }
  router.service(ServerReflectionV1, { serverReflectionInfo });
  // The messages of v1alpha are those of v1 under another package: same fields, same numbers.
  router.service(ServerReflectionV1Alpha, {
    serverReflectionInfo: serverReflectionInfo as never,
  });
}

type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>["messageResponse"]>;

function createResponder(services: readonly DescService[], extraFiles: readonly DescFile[]) {
  const files = new Map<string, DescFile>();
  const collect = (file: DescFile) => {
    if (files.has(file.proto.name)) return;
    files.set(file.proto.name, file);
    file.dependencies.forEach(collect);
  };
  for (const service of services) collect(service.file);
  extraFiles.forEach(collect);
  const registry = createRegistry(...files.values());

  const answer = ({ messageRequest }: ServerReflectionRequest): Answer => {
    switch (messageRequest.case) {
      case "listServices": {
        const names = services.map(({ typeName }) => typeName).sort();
        return { case: "listServicesResponse", value: { service: names.map((name) => ({ name })) } };
      }
      case "fileByFilename":
        return fileOrNotFound(files.get(messageRequest.value), messageRequest.value);
      case "fileContainingSymbol":
        return fileOrNotFound(findSymbol(registry, messageRequest.value), messageRequest.value);
      case "fileContainingExtension": {
        const { containingType, extensionNumber } = messageRequest.value;
        const message = registry.getMessage(containingType);
        const extension = message && registry.getExtensionFor(message, extensionNumber);
        return fileOrNotFound(extension?.file, `${containingType} extension ${extensionNumber}`);
      }
      case "allExtensionNumbersOfType": {
        const baseTypeName = messageRequest.value;
        if (!registry.getMessage(baseTypeName)) return notFound(baseTypeName);
        const extensionNumber = [...registry].flatMap((type) =>
          type.kind === "extension" && type.extendee.typeName === baseTypeName ? [type.number] : [],
        );
        return { case: "allExtensionNumbersResponse", value: { baseTypeName, extensionNumber } };
      }
      default:
        return {
          case: "errorResponse",
          value: { errorCode: Code.InvalidArgument, errorMessage: "the request asks for nothing" },
        };
    }
  };

  return (request: ServerReflectionRequest): ServerReflectionResponse =>
    create(ServerReflectionResponseSchema, {
      validHost: request.host,
      originalRequest: request,
      messageResponse: answer(request),
    });
}

/** The file that declares a symbol; for a method, field or enum value, the file of what it belongs to. */
function findSymbol(registry: Registry, symbol: string): DescFile | undefined {
  const name = symbol.replace(/^\./, "");
  const parent = name.slice(0, Math.max(0, name.lastIndexOf(".")));
  return (registry.get(name) ?? registry.get(parent))?.file;
}

function fileOrNotFound(file: DescFile | undefined, what: string): Answer {
  if (!file) return notFound(what);
  const bytes = toBinary(FileDescriptorProtoSchema, file.proto);
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto: [bytes] } };
}

function notFound(what: string): Answer {
  return { case: "errorResponse", value: { errorCode: Code.NotFound, errorMessage: `not found: ${what}` } };
}
