// Validate objects by Kubernetes' models of them: node custom_models.mjs FOLDER < OBJECTS.json
// Prints one line a mistake.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const folder = resolve(process.argv[2], "node_modules", "@kubernetes-models");
const PACKAGES = {
  "monitoring.coreos.com": "prometheus-operator",
  "keda.sh": "keda",
  "gateway.networking.k8s.io": "gateway-api",
};

for (const object of JSON.parse(readFileSync(0))) {
  const [group, version] = object.apiVersion.split("/");
  // The package has GRPCRoute as it was before v1, which took it over as it stood.
  const known = object.kind === "GRPCRoute" ? "v1alpha2" : version;
  const file = resolve(folder, PACKAGES[group], group, known, `${object.kind}.js`);
  const module = await import(pathToFileURL(file));
  const Model = (module.default ?? module)[object.kind] ?? module[object.kind];
  try {
    new Model({ ...object, apiVersion: `${group}/${known}` }).validate();
  } catch (error) {
    console.log(`${object.kind} ${object.metadata.name}: ${error.message}`);
  }
}
