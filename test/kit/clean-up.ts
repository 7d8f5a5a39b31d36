// Set-up of every test file that starts processes: ends those that the file left running, and removes its temporary directories.
import { afterAll } from 'vitest';
import { stopAll } from './processes.ts';
import { removeTemporaryDirectories } from './sentinel.ts';

// Registered before the hooks of the file, so it runs after them.
afterAll(async () => {
  await stopAll();
  removeTemporaryDirectories();
});
