// Holds a dialogue with a program as a process: a fake model server, the lines of the user, and the lines that it prints.
import { join } from 'node:path';
import { type Proc, ROOT, startNode } from '../../kit/processes.ts';
import { type Dialogue, shownLines } from './dialogues.ts';
import { serveAnswers } from './model-server.ts';

/** Agere waits forever in some of the dialogues. */
const LIMIT_MS = 15_000;

/** Settings of a program for the model server at `url`. */
export const modelServer = (url: string): Record<string, string> => ({
  OPENAI_BASE_URL: url,
  OPENAI_API_KEY: 'none',
});

/** Starts one of the programs with the model server at `url`. */
export type Start = (url: string) => Proc;

/** Lines that a program prints in a dialogue; the last one reports a failure or a program that does not end. */
export async function hold({ questions, answers }: Dialogue, start: Start): Promise<string[]> {
  const server = await serveAnswers(answers);
  const program = start(server.url);
  for (const line of [...questions, 'exit']) program.write(line);
  const limit = setTimeout(() => program.child.kill('SIGKILL'), LIMIT_MS);
  const { code, signal } = await program.exited;
  clearTimeout(limit);
  await server.close();
  const lines = shownLines(program.output);
  if (signal !== null) lines.push(`(did not end within ${LIMIT_MS / 1_000} s)`);
  else if (code !== 0) lines.push(`(exit ${code})`);
  if (server.unused() > 0) lines.push(`(${server.unused()} answers of the model were not asked for)`);
  return lines;
}

/** Our program of the tutorial. */
export const ours: Start = (url) =>
  startNode(['--disable-warning=ExperimentalWarning', join(ROOT, 'agents/examples/agere-loop.ts')], {
    name: 'ours',
    env: { ...modelServer(url), MODEL_NAME: 'gpt-4' },
  });
