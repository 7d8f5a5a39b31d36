// Set-up of every test file that starts processes: ends those that the file left running, and removes its temporary directories. It fails
// the file if Node or the system ended one of its processes, such as by a failed assertion, which a test may notice only by a lost
// connection.
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
