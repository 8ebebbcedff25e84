// Compiles dist/esm and dist/cjs; the second says what it is in a package.json of its own.

import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const compiler = createRequire(import.meta.url).resolve("typescript/bin/tsc");

for (const project of ["tsconfig.json", "tsconfig.cjs.json"]) {
  const done = spawnSync(process.execPath, [compiler, "--project", join(here, project)], { stdio: "inherit" });
  if (done.status !== 0) process.exit(done.status ?? 1);
}
mkdirSync(join(here, "dist/cjs"), { recursive: true });
writeFileSync(join(here, "dist/cjs/package.json"), '{ "type": "commonjs" }\n');
