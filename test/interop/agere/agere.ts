// The dialogue agent of the Agere tutorial, on Agere and on our task tree: `npm run interop-agere`. Both programs hold the
// dialogues of `dialogues.ts` with one fake model server. Ours must give the transcript of each; Agere's must give it where
// `isSameOnAgere` is set, and its transcript is printed elsewhere. Agere comes from PyPI, as for `npm run interop-python`.
import { join } from 'node:path';
import { Proc, ROOT, stopAll } from '../../kit/processes.ts';
import { pythonWith } from '../../kit/python.ts';
import { DIALOGUES } from './dialogues.ts';
import { hold, modelServer, ours, type Start } from './hold.ts';

const HERE = join(ROOT, 'test/interop/agere');

const isEqual = (a: readonly string[], b: readonly string[]): boolean => a.join('\n') === b.join('\n');
const indented = (lines: readonly string[]): string => lines.map((line) => `      ${line}`).join('\n');

async function main(): Promise<number> {
  const python = pythonWith('interop-agere', join(HERE, 'requirements.txt'));
  const program = process.argv[2] ?? join(HERE, 'tutorial.py');
  const agere: Start = (url) =>
    new Proc(python, [program], { name: 'Agere', env: { ...modelServer(url), PYTHONUNBUFFERED: '1' } });
  let failed = 0;
  for (const dialogue of DIALOGUES) {
    const { name, transcript, isSameOnAgere } = dialogue;
    const [here, there] = await Promise.all([hold(dialogue, ours), hold(dialogue, agere)]);
    const isRight = isEqual(here, transcript);
    const isSame = isEqual(there, transcript);
    const isExpected = isRight && isSame === isSameOnAgere;
    if (!isExpected) failed++;
    const word = (right: boolean): string => (right ? 'right' : 'differs');
    console.log(`${isExpected ? 'ok  ' : 'FAIL'} ${name}: ours ${word(isRight)}, Agere ${word(isSame)}`);
    if (!isRight) console.log(`    ours:\n${indented(here)}`);
    if (!isSame) console.log(`    Agere:\n${indented(there.slice(-8))}`);
  }
  console.log(`${DIALOGUES.length - failed} of ${DIALOGUES.length} dialogues as expected`);
  return failed === 0 ? 0 : 1;
}

process.exitCode = await main().finally(stopAll);
