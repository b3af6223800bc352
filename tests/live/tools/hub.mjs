// What people do with a hub from JavaScript: `node hub.mjs TASK.json`, with @huggingface/hub to be found from its own folder.
// TASK: {"endpoint", "alice", "bob" (tokens), "prefix", "folder", "package" (where @huggingface/hub lies)}.
// Prints one line of JSON: {"version", "features": {name: "ok" | "FAILED: …"}}.
import { strict as assert } from "node:assert";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const told = JSON.parse(readFileSync(process.argv[2], "utf8"));
const found = createRequire(join(told.package, "package.json")).resolve("@huggingface/hub");
const hub = await import(pathToFileURL(found.replace(/index\.js$/, "index.mjs")));
const version = JSON.parse(readFileSync(join(told.package, "node_modules/@huggingface/hub/package.json"))).version;
const mine = { hubUrl: told.endpoint, accessToken: told.alice };
const nobody = { hubUrl: told.endpoint };
const name = `alice/${told.prefix}`;
const repo = { type: "model", name };
const hidden = { type: "dataset", name: `alice/${told.prefix}-private` };
const blob = (data) => new Blob([data]);
const bytes = async (file) => Buffer.from(await file.arrayBuffer());
const sum = (data) => createHash("sha256").update(data).digest("hex");
const big = randomBytes(12_000_000), large = randomBytes(6_000_000);
const all = async (items) => { const list = []; for await (const item of items) list.push(item); return list; };
const refused = async (status, call) => {
  try { await call(); } catch (error) { assert.equal(error.statusCode, status, String(error)); return; }
  assert.fail(`${status} was expected`);
};

const features = {
  "whoAmI": async () => {
    const me = await hub.whoAmI(mine);
    assert.deepEqual([me.type, me.name], ["user", "alice"]);
    assert.ok(me.orgs.some((org) => org.name === "acme"));
  },
  "createRepo": async () => {
    const made = await hub.createRepo({ repo, ...mine });
    assert.equal(made.repoUrl, `${told.endpoint}/${name}`);
    await hub.createRepo({ repo: hidden, private: true, ...mine });
    await refused(409, () => hub.createRepo({ repo, ...mine }));
    await refused(403, () => hub.createRepo({ repo: { type: "model", name: "bob/not-mine" }, ...mine }));
  },
  "createRepo with files": async () => {
    const other = { type: "model", name: `${name}-files` };
    await hub.createRepo({ repo: other, files: [{ path: "a.txt", content: blob("with it\n") }], ...mine });
    assert.equal(await (await hub.downloadFile({ repo: other, path: "a.txt", ...mine })).text(), "with it\n");
  },
  "uploadFile": async () => {
    const content = blob("---\nlicense: mit\npipeline_tag: text-classification\n---\n# From JavaScript\n");
    const done = await hub.uploadFile({ repo, file: { path: "README.md", content }, ...mine });
    assert.match(done.commit.url, new RegExp(`^${told.endpoint}/${name}/commit/[0-9a-f]{40}$`));
    await hub.uploadFile({ repo: hidden, file: { path: "data.csv", content: blob("a,b\n1,2\n") }, ...mine });
  },
  "uploadFiles, a large one by Xet": async () => {
    const path = join(told.folder, "from-disk.bin");
    writeFileSync(path, large);
    await hub.uploadFiles({
      repo, files: [{ path: "deep/big.bin", content: blob(big) }, pathToFileURL(path)], useXet: true, ...mine,
    });
  },
  "uploadFile, a large one by LFS": async () => {
    const data = Buffer.concat([big, Buffer.from("by lfs")]);
    await hub.uploadFile({ repo, file: { path: "lfs.bin", content: blob(data) }, useXet: false, ...mine });
    assert.equal(sum(await bytes(await hub.downloadFile({ repo, path: "lfs.bin", ...mine }))), sum(data));
  },
  "listFiles": async () => {
    const files = await all(hub.listFiles({ repo, recursive: true, ...mine }));
    const one = files.find((file) => file.path === "deep/big.bin");
    assert.deepEqual([one.size, one.lfs.size, one.lfs.oid], [big.length, big.length, sum(big)]);
    const top = (await all(hub.listFiles({ repo, expand: true, ...mine }))).map((file) => [file.path, file.type]);
    assert.ok(top.some(([path, type]) => path === "deep" && type === "directory"));
  },
  "downloadFile": async () => {
    assert.equal(sum(await bytes(await hub.downloadFile({ repo, path: "deep/big.bin", ...nobody }))), sum(big));
    assert.equal(sum(await bytes(await hub.downloadFile({ repo, path: "from-disk.bin", ...nobody }))), sum(large));
    const text = await (await hub.downloadFile({ repo, path: "README.md", revision: "main", ...nobody })).text();
    assert.match(text, /From JavaScript/);
    assert.equal(await hub.downloadFile({ repo, path: "nope.txt", ...nobody }), null);
    const part = (await hub.downloadFile({ repo, path: "deep/big.bin", ...nobody })).slice(1000, 1100);
    assert.deepEqual(await bytes(part), big.subarray(1000, 1100));
  },
  "downloadFile of a private repository": async () => {
    const path = "data.csv";
    assert.equal(await (await hub.downloadFile({ repo: hidden, path, ...mine })).text(), "a,b\n1,2\n");
    for (const other of [nobody, { ...nobody, accessToken: told.bob }]) {
      const seen = await hub.downloadFile({ repo: hidden, path, ...other }).catch((error) => error.statusCode);
      assert.ok([null, 401, 404].includes(seen), String(seen));
    }
  },
  "fileExists and fileDownloadInfo": async () => {
    assert.equal(await hub.fileExists({ repo, path: "README.md", ...mine }), true);
    assert.equal(await hub.fileExists({ repo, path: "nope.txt", ...mine }), false);
    const info = await hub.fileDownloadInfo({ repo, path: "deep/big.bin", ...mine });
    assert.equal(info.size, big.length);
  },
  "pathsInfo": async () => {
    const [one, ...rest] = await hub.pathsInfo({ repo, paths: ["deep/big.bin", "nope"], expand: true, ...mine });
    assert.equal(rest.length, 0);
    assert.deepEqual([one.size, one.lfs.oid], [big.length, sum(big)]);
    assert.ok(one.lastCommit.id);
  },
  "commit of additions and deletions": async () => {
    const parentCommit = (await all(hub.listCommits({ repo, ...mine })))[0].oid;
    const done = await hub.commit({
      repo, title: "Two things", description: "why", parentCommit, ...mine,
      operations: [
        { operation: "addOrUpdate", path: "a space #1.txt", content: blob("added\n") },
        { operation: "delete", path: "from-disk.bin" },
      ],
    });
    const files = (await all(hub.listFiles({ repo, ...mine }))).map((file) => file.path);
    assert.ok(files.includes("a space #1.txt") && !files.includes("from-disk.bin"));
    await refused(412, () => hub.uploadFile({
      repo, file: { path: "late.txt", content: blob("late") }, parentCommit, ...mine,
    }));
    assert.equal((await all(hub.listCommits({ repo, ...mine })))[0].oid, done.commit.oid);
  },
  "commit as a pull request": async () => {
    const done = await hub.uploadFile({
      repo, file: { path: "proposal.txt", content: blob("please") }, isPullRequest: true, ...mine, accessToken: told.bob,
    });
    assert.match(done.pullRequestUrl, /\/discussions\/\d+$/);
    assert.equal(await hub.fileExists({ repo, path: "proposal.txt", ...mine }), false);
  },
  "deleteFile and deleteFiles": async () => {
    await hub.deleteFile({ repo, path: "lfs.bin", ...mine });
    await hub.deleteFiles({ repo, paths: ["a space #1.txt"], ...mine });
    const files = (await all(hub.listFiles({ repo, ...mine }))).map((file) => file.path);
    assert.deepEqual(files.sort(), [".gitattributes", "README.md", "deep"]);
  },
  "listCommits and countCommits": async () => {
    const commits = await all(hub.listCommits({ repo, batchSize: 2, ...mine }));
    assert.equal(commits.at(-1).title, "initial commit");
    assert.deepEqual(commits[0].authors.map((author) => author.username), ["alice"]);
    assert.equal(await hub.countCommits({ repo, ...mine }), commits.length);
  },
  "createBranch and deleteBranch": async () => {
    await hub.createBranch({ repo, branch: "dev/x", ...mine });
    await hub.uploadFile({ repo, branch: "dev/x", file: { path: "dev.txt", content: blob("dev\n") }, ...mine });
    assert.equal(await (await hub.downloadFile({ repo, path: "dev.txt", revision: "dev/x", ...mine })).text(), "dev\n");
    assert.equal(await hub.fileExists({ repo, path: "dev.txt", ...mine }), false);
    await hub.deleteBranch({ repo, branch: "dev/x", ...mine });
    await refused(404, () => hub.modelInfo({ name, revision: "dev/x", ...mine }));
  },
  "modelInfo and datasetInfo": async () => {
    const info = await hub.modelInfo({ name, additionalFields: ["author", "sha", "tags"], ...mine });
    assert.deepEqual([info.name, info.author, info.task], [name, "alice", "text-classification"]);
    assert.ok(info.tags.includes("license:mit") && info.sha && info.updatedAt instanceof Date);
    assert.equal((await hub.datasetInfo({ name: hidden.name, ...mine })).private, true);
    await refused(401, () => hub.datasetInfo({ name: hidden.name, ...nobody }));
  },
  "listModels and listDatasets": async () => {
    const models = await all(hub.listModels({ search: { owner: "alice", query: told.prefix }, additionalFields: ["author"], ...mine }));
    assert.ok(models.some((model) => model.name === name && model.author === "alice"));
    const tagged = await all(hub.listModels({ search: { owner: "alice", tags: ["license:mit"], task: "text-classification" }, limit: 500, ...mine }));
    assert.ok(tagged.some((model) => model.name === name));
    const datasets = await all(hub.listDatasets({ search: { query: told.prefix }, ...nobody }));
    assert.equal(datasets.length, 0);
  },
  "repoExists and checkRepoAccess": async () => {
    assert.equal(await hub.repoExists({ repo, ...mine }), true);
    assert.equal(await hub.repoExists({ repo: { type: "model", name: "alice/nope" }, ...mine }), false);
    await hub.checkRepoAccess({ repo, ...mine });
    await refused(404, () => hub.checkRepoAccess({ repo: hidden, ...nobody, accessToken: told.bob }));
  },
  "snapshotDownload": async () => {
    const root = await hub.snapshotDownload({ repo, cacheDir: join(told.folder, "cache"), ...mine });
    assert.ok(existsSync(join(root, "README.md")) && existsSync(join(root, "deep", "big.bin")));
    assert.equal(sum(readFileSync(join(root, "deep", "big.bin"))), sum(big));
  },
  "createCollection and deleteCollection": async () => {
    const { slug } = await hub.createCollection({ collection: { title: `From JavaScript ${told.prefix}`, namespace: "alice" }, ...mine });
    const listed = await all(hub.listCollections({ search: { owner: ["alice"] }, ...mine }));
    assert.ok(listed.some((one) => one.slug === slug));
    await hub.deleteCollection({ slug, ...mine });
  },
  "a wrong token": async () => refused(401, () => hub.whoAmI({ hubUrl: told.endpoint, accessToken: "hf_wrong" })),
  "deleteRepo": async () => {
    await hub.deleteRepo({ repo: hidden, ...mine });
    assert.equal(await hub.repoExists({ repo: hidden, ...mine }), false);
    await refused(404, () => hub.deleteRepo({ repo: hidden, ...mine }));
  },
};

const outcome = {};
for (const [title, act] of Object.entries(features)) {
  try { await act(); outcome[title] = "ok"; } catch (error) { outcome[title] = `FAILED: ${error.stack ?? error}`; }
}
console.log(JSON.stringify({ version, features: outcome }));
