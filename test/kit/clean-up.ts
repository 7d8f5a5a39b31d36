// Set-up of every test file that starts processes: ends those that the file left running, and removes its temporary directories. Fails the
// file if a fault ended one of its processes, for example a failed assertion of Node. A test may see only a lost connection.
import { afterAll } from 'vitest';
import { stopAll, takeAborted } from './processes.ts';
import { removeTemporaryDirectories } from './sentinel.ts';

// Registered before the hooks of the file, so it runs after them.
afterAll(async () => {
  await stopAll();
  removeTemporaryDirectories();
  const [aborted] = takeAborted();
  if (aborted) throw aborted;
});
