// Part of every test file that starts processes: what it made on the disk goes with it.
import { afterAll } from 'vitest';
import { removeTemporaryDirectories } from './sentinel.ts';

// The last of a file's hooks, since it is the first that was registered.
afterAll(removeTemporaryDirectories);
