// Imports each module named on the command line and prints the changes to the process, one line of JSON for all:
// module -> list of changes. Importing a package must change nothing: no flag of V8, no handle, no listener, no output.
import { createRequire, syncBuiltinESMExports } from 'node:module';

const require = createRequire(import.meta.url);
const calls = [];
/** Replaces a function of a module of Node by one that records its call first. */
const watch = (object, name, label) => {
  const original = object[name];
  object[name] = function (...args) {
    calls.push(`${label}(${typeof args[0] === 'string' ? args[0] : ''})`);
    return Reflect.apply(original, this, args);
  };
};
watch(require('node:v8'), 'setFlagsFromString', 'v8.setFlagsFromString');
for (const name of [
  'writeFileSync',
  'writeFile',
  'appendFileSync',
  'createWriteStream',
  'mkdirSync',
  'mkdir',
])
  watch(require('node:fs'), name, `fs.${name}`);
for (const name of ['spawn', 'exec', 'execFile', 'fork', 'spawnSync', 'execFileSync', 'execSync'])
  watch(require('node:child_process'), name, `child_process.${name}`);
watch(require('node:net').Server.prototype, 'listen', 'net.listen');
watch(require('node:net').Socket.prototype, 'connect', 'net.connect');
watch(process.stderr, 'write', 'stderr.write');
const write = process.stdout.write.bind(process.stdout);
watch(process.stdout, 'write', 'stdout.write');
syncBuiltinESMExports();

/** The globals of this runtime, and the registry that zod shares between its copies. */
const KNOWN_GLOBALS = new Set([
  ...Object.getOwnPropertyNames(globalThis),
  '__zod_globalConfig',
  '__zod_globalRegistry',
]);

/** The state of the process that an import could change. */
const state = () => ({
  execArgv: process.execArgv.join(' '),
  environment: JSON.stringify(process.env),
  exitCode: process.exitCode ?? null,
  title: process.title,
  directory: process.cwd(),
  listeners: process
    .eventNames()
    .map((name) => `${String(name)} ${process.listenerCount(name)}`)
    .sort()
    .join(', '),
  resources: process.getActiveResourcesInfo().sort().join(', '),
  globals: Object.getOwnPropertyNames(globalThis)
    .filter((name) => !KNOWN_GLOBALS.has(name))
    .join(', '),
});

const report = {};
for (const name of process.argv.slice(2)) {
  calls.length = 0;
  await new Promise((resolve) => setImmediate(resolve));
  const before = state();
  await import(name);
  await new Promise((resolve) => setImmediate(resolve));
  const after = state();
  const changed = Object.keys(after).filter((key) => after[key] !== before[key]);
  report[name] = [...calls, ...changed.map((key) => `${key}: ${before[key]} -> ${after[key]}`)];
}
// Handles that an import left open must not keep this process alive.
write(`${JSON.stringify(report)}\n`, () => process.exit(0));
