// Custom resources against the validators of @kubernetes-models. Standard input: a list of documents; standard output: for
// each a list of what is wrong, or null where no validator is known.

const PACKAGES = {
  "keda.sh": "@kubernetes-models/keda",
  "networking.istio.io": "@kubernetes-models/istio",
  "security.istio.io": "@kubernetes-models/istio",
  "gateway.networking.k8s.io": "@kubernetes-models/gateway-api",
  "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
  "cert-manager.io": "@kubernetes-models/cert-manager",
};

const ABSENT = ["ERR_MODULE_NOT_FOUND", "ERR_PACKAGE_PATH_NOT_EXPORTED"];

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const answers = [];
for (const document of JSON.parse(Buffer.concat(chunks))) answers.push(await check(document));
console.log(JSON.stringify(answers));

async function check(document) {
  const [group, version] = document.apiVersion.split("/");
  const name = PACKAGES[group];
  if (!name) return null;
  const module = await import(`${name}/${group}/${version}/${document.kind}`).catch((error) => {
    if (ABSENT.includes(error.code)) return {};
    throw error;
  });
  const Model = module[document.kind];
  if (!Model) return [`apiVersion: expected a kind that ${name} has, found ${document.apiVersion}`];
  const wrong = [];
  try {
    new Model(document).validate();
  } catch (error) {
    wrong.push(error.message);
  }
  return [...wrong, ...unread(Model, document)];
}

// The validators let keys pass that they do not know. They read the others, so a key that none of them reads is unknown.
function unread(Model, document) {
  const read = new Set();
  const watched = (value, path) =>
    value === null || typeof value !== "object"
      ? value
      : new Proxy(value, {
          get(target, key) {
            const inner = target[key];
            if (typeof key === "symbol" || !Object.hasOwn(target, key)) return inner;
            read.add(`${path}/${key}`);
            return watched(inner, `${path}/${key}`);
          },
        });
  const model = new Model({});
  for (const [key, value] of Object.entries(document)) model[key] = watched(value, `/${key}`);
  try {
    model.validate();
  } catch {
    return []; // said already
  }
  return [...paths(document.spec, "/spec")].filter((path) => !read.has(path)).map((path) => `${path}: unknown key`);
}

function* paths(value, path) {
  if (value === null || typeof value !== "object") return;
  for (const [key, inner] of Object.entries(value)) {
    yield `${path}/${key}`;
    yield* paths(inner, `${path}/${key}`);
  }
}
