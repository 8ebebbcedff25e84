// Compiles dist/esm and dist/cjs; the second says what it is in a package.json of its own.

import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const compiler = createRequire(import.meta.url).resolve("typescript/bin/tsc");

const compile = (project) =>
  new Promise((resolve, reject) => {
    const done = spawn(process.execPath, [compiler, "--project", join(here, project)], { stdio: "inherit" });
    done.on("exit", (status) => (status === 0 ? resolve() : reject(new Error(`${project} does not compile`))));
  });

mkdirSync(join(here, "dist/cjs"), { recursive: true });
writeFileSync(join(here, "dist/cjs/package.json"), '{ "type": "commonjs" }\n');
await Promise.all(["tsconfig.json", "tsconfig.cjs.json"].map(compile)).catch((failure) => {
  console.error(failure.message);
  process.exitCode = 1;
});
