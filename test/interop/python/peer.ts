// Processes of the Python peer, and the report of its client.
import { join } from 'node:path';
import { Proc, ROOT } from '../../kit/processes.ts';
import { pythonWith } from '../../kit/python.ts';

const HERE = join(ROOT, 'test/interop/python');
export const PYTHON = pythonWith('interop-python', join(HERE, 'requirements.txt'));

/** Starts a script of this folder. Two processes with one salt have the same id. */
export const startPython = (
  { url }: { readonly url: string },
  script: string,
  args: string[] = [],
  { salt = args.join('-'), env = {} }: { salt?: string | undefined; env?: Record<string, string> } = {},
): Proc =>
  new Proc(PYTHON, [join(HERE, script), ...args], {
    name: `python ${script} ${args.join(' ')}`,
    env: { FAME_DIRECT_ADMISSION_URL: url, PYTHONUNBUFFERED: '1', FAME_NODE_ID_SALT: salt, ...env },
  });

/** Results of the calls of one agent. */
interface Results {
  add: number;
  named: number;
  count: boolean;
  burst: boolean;
  fail: string;
}

/** Output of `client.py`. With the argument `math` it has neither `chat` nor `work`. */
export type Report = Record<'ts' | 'py', Results> & {
  chat: { started: string; sums: string; name: string };
  work: string[];
  unserved: string;
};

/** Waits for the end of `client.py`. */
export async function readReport(client: Proc): Promise<Report> {
  const { code } = await client.exited;
  const line = client.output.split('\n').find((text) => text.startsWith('{"ts"'));
  if (code !== 0 || !line) throw client.failure('did not report');
  return JSON.parse(line) as Report;
}
