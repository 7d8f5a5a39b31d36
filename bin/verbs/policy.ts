// `fame policy check FILE`: checks a policy and prints every fault with its line, column and a suggestion.
import { readFile } from 'node:fs/promises';
import { formatPolicyFault, type Policy, parsePolicy } from '@fame-fabric/sentinel/policy';
import { closestMatch, cutText, EXIT, escapeLine, reasonOf } from '@fame-fabric/shared/internal';
import { countText } from '../count-text.ts';
import { writeMessage, writeOut } from '../output.ts';
import { UsageError, type VerbInput } from '../verb.ts';

/** Resolves to 0; 1 if the file is faulty or cannot be read. @throws {UsageError} */
export async function run({ positionals }: VerbInput): Promise<number> {
  const [action, path] = positionals;
  if (action !== 'check') {
    const isClose = closestMatch(action ?? '', ['check']) !== undefined;
    const word = escapeLine(cutText(action ?? '', 64));
    throw new UsageError(
      `policy has no action "${word}".${isClose ? ' Did you mean check?' : ' Its action is check'}`,
    );
  }
  if (path === undefined) throw new UsageError('policy check takes the file of a policy');
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    writeMessage(`${path} cannot be read: ${reasonOf(error)}`);
    return EXIT.failure;
  }
  const { policy, faults } = parsePolicy(path, text);
  for (const fault of faults) writeOut(`${escapeLine(formatPolicyFault(path, fault))}\n`);
  const errors = faults.filter(({ level }) => level === 'error').length;
  const counts = [countText(errors, 'error'), countText(faults.length - errors, 'warning')];
  if (policy !== undefined) counts.unshift(countText(policy.rules.length, 'rule'));
  writeOut(
    `${escapeLine(path)}: ${counts.join(', ')}${policy === undefined ? '' : `. ${scopeText(policy)}`}\n`,
  );
  return policy === undefined ? EXIT.failure : EXIT.ok;
}

const scopeText = ({ isForeign }: Policy): string =>
  isForeign
    ? 'It decides about Connect and messages, as in naylence. Roles decide about Bind, Advertise, Watch, Admin and Conversations.'
    : 'It decides about every action.';
