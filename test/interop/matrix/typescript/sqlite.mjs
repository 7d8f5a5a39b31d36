// Stands in for the package better-sqlite3, which naylence imports for durable storage: its native part is built by an install script,
// and the tests run none. Load it with `--import`. The SQLite of Node has the same calls but `pragma`.
import { registerHooks } from 'node:module';
import { DatabaseSync } from 'node:sqlite';

export default class Database extends DatabaseSync {
  pragma(setting) {
    this.exec(`PRAGMA ${setting}`);
  }
}

registerHooks({
  resolve(specifier, context, next) {
    if (specifier !== 'better-sqlite3') return next(specifier, context);
    return { url: import.meta.url, format: 'module', shortCircuit: true };
  },
});
