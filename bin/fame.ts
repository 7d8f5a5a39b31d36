#!/usr/bin/env node
// The `fame` command. It switches on Node's compile cache before it loads any code of ours; `command.ts` does the rest.
import module from 'node:module';

/** Node writes the cache when a process exits, which a killed one does not. */
const FLUSH_AFTER_MS = 3_000;

module.enableCompileCache?.();
setTimeout(() => module.flushCompileCache?.(), FLUSH_AFTER_MS).unref();

await import('./command.ts');
