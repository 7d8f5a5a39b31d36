// Where the clients of the tests are installed.
import { join } from 'node:path';
import { ROOT } from '../../kit/processes.ts';
import { pythonWith } from '../../kit/python.ts';

/** The folder of the package with the JavaScript clients. */
export const CLIENTS = join(ROOT, 'test/doors');

/** The Python programs and their requirements. */
export const PYTHON = join(CLIENTS, 'openai/python');

/** Minor version of Python that the libraries need. */
const MINOR = 10;

/** Installs the Python clients once and returns the path of their interpreter. */
export const ensurePython = (): string => pythonWith('test-doors', join(PYTHON, 'requirements.txt'), MINOR);
