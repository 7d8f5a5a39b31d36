// Set-up of every test file that starts processes: removes its temporary directories at the end.
import { afterAll } from 'vitest';
import { removeTemporaryDirectories } from './sentinel.ts';

// Registered before the hooks of the file, so it runs after them.
afterAll(removeTemporaryDirectories);
