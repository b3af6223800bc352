// The best variant for a budget as a pipeline of transformers.js. In a page: pipeline.html. In Node:
// `npm install @huggingface/transformers`, then
//   node pipeline.mjs http://hub.example:8000 alice/my-model memory=512MB feature-extraction "a text"
import { env, pipeline } from "@huggingface/transformers";

/**
 * Resolves a budget to a commit once, then loads that commit's graph, configuration and tokenizer. A token, in Node: HF_TOKEN.
 * Throws the hub's own sentence when nothing fits or the budget is not understood.
 */
export async function fittedPipeline(hub, model, budget, task, options = {}) {
  const token = globalThis.process?.env?.HF_TOKEN;
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const asked = await fetch(`${hub}/api/models/${model}/revision/${encodeURIComponent(`fit@${budget}`)}`, { headers });
  const found = await asked.json();
  if (!asked.ok) throw new Error(found.error);
  const graph = found.siblings.map((file) => file.rfilename).find((name) => /^onnx\/[^/]+\.onnx$/.test(name));
  env.remoteHost = `${hub}/`;
  env.allowLocalModels = false;
  // The library derives a file's name from a dtype; "fp32" adds nothing to the name which the variant really has.
  const named = { model_file_name: graph.slice("onnx/".length, -".onnx".length), dtype: "fp32" };
  const made = await pipeline(task, model, { revision: found.sha, ...named, ...options });
  return { pipeline: made, commit: found.sha, graph };
}

if (globalThis.process?.argv?.[1]?.endsWith("pipeline.mjs")) {
  const [hub, model, budget, task, text] = process.argv.slice(2);
  try {
    const { pipeline: run, commit, graph } = await fittedPipeline(hub, model, budget, task);
    const output = await run(text);
    console.log(JSON.stringify({ commit, graph, dims: output.dims, data: Array.from(output.data ?? []) }));
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
}
