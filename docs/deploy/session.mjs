// The best variant for a budget as a session of onnxruntime-web. In a page: page.html. In Node: `npm install onnxruntime-web`, then
//   node session.mjs http://hub.example:8000 alice/my-model memory=512MB,latency=20ms
import * as ort from "onnxruntime-web";

/**
 * Resolves a budget to a commit once, then fetches that commit's graph.
 * Returns {session, commit, graph}. Throws the hub's own sentence when nothing fits or the budget is not understood.
 */
export async function fitted(hub, model, budget, token = "") {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const asked = await fetch(`${hub}/api/models/${model}/revision/${encodeURIComponent(`fit@${budget}`)}`, { headers });
  const found = await asked.json();
  if (!asked.ok) throw new Error(found.error);
  const names = found.siblings.map((file) => file.rfilename).filter((name) => name.startsWith("onnx/"));
  const bytes = async (name) => {
    const answer = await fetch(`${hub}/${model}/resolve/${found.sha}/${encodeURI(name)}`, { headers });
    if (!answer.ok) throw new Error(`${name}: ${answer.status} ${answer.headers.get("X-Error-Message") ?? ""}`);
    return new Uint8Array(await answer.arrayBuffer());
  };
  const graph = names.find((name) => name.endsWith(".onnx"));
  const weights = names.filter((name) => !name.endsWith(".onnx")); // of large models, beside the graph
  const externalData = await Promise.all(
    weights.map(async (name) => ({ path: name.slice("onnx/".length), data: await bytes(name) })),
  );
  const session = await ort.InferenceSession.create(await bytes(graph), externalData.length ? { externalData } : {});
  return { session, commit: found.sha, graph };
}

if (globalThis.process?.argv?.[1]?.endsWith("session.mjs")) {
  const [hub, model, budget = ""] = process.argv.slice(2);
  try {
    const { session, commit, graph } = await fitted(hub, model, budget, process.env.HF_TOKEN);
    console.log(JSON.stringify({ commit, graph, inputs: session.inputNames, outputs: session.outputNames }));
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
}
