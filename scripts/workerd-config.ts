/**
 * The configuration with which plain `workerd serve` runs the built worker on this machine, in the text form of
 * Cap'n Proto (schema: workerd.capnp). Renders only; it writes no file and starts nothing.
 */

/** A worker to serve, and where. */
export interface WorkerdDescription {
  /** The ES module, relative to the configuration's own folder; workerd cannot embed absolute paths. */
  readonly modulePath: string;
  readonly compatibilityDate: string;
  readonly compatibilityFlags: readonly string[];
  /** Variables and secrets of the worker, by name. They stand in the configuration as they are: guard the file. */
  readonly variables: Readonly<Record<string, string>>;
  /** `host:port` to listen on; an IPv6 host in brackets. */
  readonly address: string;
  readonly durableObjects: readonly DurableObjectBinding[];
  /** Absolute path of the folder that their storage is in; it must exist. */
  readonly storageDirectory: string;
}

/** A class of Durable Objects, and the name under which the worker finds it. */
export interface DurableObjectBinding {
  readonly name: string;
  readonly className: string;
}

/** The configuration's text. The worker may reach every network, loopback included: the backend is there. */
export function renderWorkerdConfig(description: WorkerdDescription): string {
  const { modulePath, compatibilityDate, compatibilityFlags, variables, address } = description;
  const { durableObjects, storageDirectory } = description;
  const bindings = [
    ...Object.entries(variables).map(
      ([name, value]) => `    (name = ${quote(name)}, text = ${quote(value)})`,
    ),
    ...durableObjects.map(
      ({ name, className }) => `    (name = ${quote(name)}, durableObjectNamespace = ${quote(className)})`,
    ),
  ];
  // The unique key names the class's folder in the storage.
  const namespaces = durableObjects.map(
    ({ className }) =>
      `    (className = ${quote(className)}, uniqueKey = ${quote(className)}, enableSql = true)`,
  );
  // Constants are named with a space before the dot: `=.edge` does not parse.
  return `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "edge", worker = .edge),
    (
      name = "internet",
      network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))
    ),
    (name = "storage", disk = (path = ${quote(storageDirectory)}, writable = true))
  ],
  sockets = [(name = "http", address = ${quote(address)}, http = (), service = "edge")]
);

const edge :Workerd.Worker = (
  modules = [(name = "edge", esModule = embed ${quote(modulePath)})],
  compatibilityDate = ${quote(compatibilityDate)},
  compatibilityFlags = [${compatibilityFlags.map(quote).join(", ")}],
  bindings = [
${bindings.join(",\n")}
  ],
  durableObjectNamespaces = [
${namespaces.join(",\n")}
  ],
  durableObjectStorage = (localDisk = "storage")
);
`;
}

/** A string literal; Cap'n Proto takes UTF-8 as it is and C's escapes for the rest. */
function quote(text: string): string {
  const escaped = text.replace(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must be escaped
    /["\\\u0000-\u001f\u007f]/g,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
  return `"${escaped}"`;
}
