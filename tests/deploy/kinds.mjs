// Checks objects that are not Kubernetes' own (KEDA's, the Prometheus operator's, the Gateway API's)
// against their definitions: values by the schema, names of fields by the types made of it, for a
// cluster would drop an unknown field without a word.
// usage: kinds.mjs FOLDER <objects.json, where FOLDER has the node_modules; prints a JSON list of faults
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const folder = path.resolve(process.argv[2]);
const require = createRequire(path.join(folder, "package.json"));
const ts = require("typescript");

const PACKAGES = {
  "keda.sh": "@kubernetes-models/keda",
  "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
  "gateway.networking.k8s.io": "@kubernetes-models/gateway-api",
};

let text = "";
for await (const chunk of process.stdin) text += chunk;
const objects = JSON.parse(text);
const faults = [];
const lines = [];

for (const object of objects) {
  const [group] = object.apiVersion.split("/");
  const module = `${PACKAGES[group]}/${object.apiVersion}/${object.kind}`;
  const found = path.join(folder, "node_modules", `${module}.js`);
  const Model = (await import(pathToFileURL(found)))[object.kind];
  try {
    new Model(object).validate();
  } catch (error) {
    faults.push(`${object.kind}: ${error.message}`);
  }
  const at = lines.length;
  lines.push(
    `import type { I${object.kind} as T${at} } from "${module}";` +
      ` export const o${at}: T${at} = ${JSON.stringify(object)};`,
  );
}

const file = path.join(folder, "objects.ts");
const options = {
  noEmit: true,
  strict: true,
  skipLibCheck: true,
  types: [],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
};
const host = ts.createCompilerHost(options);
const { readFile, fileExists, getSourceFile } = host;
const source = lines.join("\n");
host.readFile = (name) => (name === file ? source : readFile(name));
host.fileExists = (name) => name === file || fileExists(name);
host.getSourceFile = (name, ...rest) =>
  name === file ? ts.createSourceFile(name, source, rest[0]) : getSourceFile(name, ...rest);
for (const found of ts.getPreEmitDiagnostics(ts.createProgram([file], options, host))) {
  faults.push(ts.flattenDiagnosticMessageText(found.messageText, " "));
}
console.log(JSON.stringify(faults));
