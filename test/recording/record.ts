// Makes docs/recording.svg, or the file that is named: `npm run recording [FILE]`. It types into two real terminals: a prompt,
// and a shell that kills the agent and then the sentinel with SIGKILL in the middle of an answer and starts them again. It fails
// unless the answer is on the screen once and whole. The model is the built-in one, slowed down to the speed of a reader.
import { deepStrictEqual } from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { offlineModel } from '@fame-fabric/agents';
import { startOfflineServer } from '@fame-fabric/agents/internal';
import { isPortTaken } from '../../bin/local/port-owner.ts';
import { cleanEnv, freePort, ROOT, stopAll } from '../kit/processes.ts';
import { KEYS, ShellScreen } from '../kit/screen.ts';
import { temporaryDirectory } from '../kit/sentinel.ts';
import { type Frame, FrameRecorder } from './frames.ts';
import { drawSvg } from './svg.ts';

const QUESTION = 'Write a poem about a message';
/** Pause between two words of the model, in ms. */
const WORD_MS = 170;
const DEFAULT_PORT = 8000;
const ABOUT =
  'Two terminals. In the first, a chat agent answers. In the second, kill -9 ends the agent and then the sentinel in the middle of the answer, and make start starts each again. The answer continues to its end.';
const KEY_MS = 45;
/** Longest pause between two frames, in ms. The real pauses are those of processes that start. */
const MAX_PAUSE_MS = 900;
/** Time that the last frame stays, in ms. */
const LAST_FRAME_MS = 4_000;

const PROMPT = { title: 'A terminal', columns: 96, rows: 19 };
const SHELL = { title: 'Another terminal', columns: 96, rows: 8 };

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function type(screen: ShellScreen, text: string): Promise<void> {
  for (const key of text) {
    screen.type(key);
    await wait(KEY_MS);
  }
  await wait(300);
  screen.type(KEYS.enter);
}

/** Runs a command in a shell and waits for the next prompt. */
async function run(shell: ShellScreen, command: string): Promise<string> {
  const commands = shell.text.split('\n$ ').length;
  await type(shell, command);
  const prompts = new RegExp(`(?:^|\\n)(?:\\$ [^\\n]*\\n[\\s\\S]*){${commands}}\\n?\\$ $`);
  await shell.waitFor(prompts);
  return shell.text;
}

const lastPid = (text: string, name: string): string => {
  const pid = [...text.matchAll(new RegExp(`^${name} +pid (\\d+)`, 'gm'))].at(-1)?.[1];
  if (!pid) throw new Error(`The shell did not show the pid of the ${name}:\n${text}`);
  return pid;
};

/** The answer of the model without a fabric. */
async function wholeAnswer(): Promise<string> {
  let text = '';
  const chunks = offlineModel({ chunkDelayMs: 0 }).stream({
    messages: [{ role: 'user', content: QUESTION }],
  });
  for await (const { choices } of chunks) text += choices[0]?.delta?.content ?? '';
  return text;
}

/** The answer on the screen, without the notes about the outages. */
function shownAnswer(text: string): string {
  const [, answer = ''] = /^A> ([\s\S]*)\nQ> $/m.exec(text) ?? [];
  return answer.replace(/^(?:Waiting for|Reconnecting|Connected again).*\n/gm, '');
}

const words = (text: string): string => text.replace(/\s+/g, ' ').trim();

async function record(port: number, modelUrl: string): Promise<{ frames: Frame[]; text: string }> {
  const env = {
    ...(port === DEFAULT_PORT ? {} : { FAME_LISTENER_PORT: String(port) }),
    FAME_DATA_DIR: temporaryDirectory(),
    OPENAI_BASE_URL: modelUrl,
    MODEL_NAME: 'offline',
  };
  const [prompt, shell] = await Promise.all([ShellScreen.open(env, PROMPT), ShellScreen.open(env, SHELL)]);
  for (const screen of [prompt, shell]) {
    screen.type(`cd '${ROOT}'; clear${KEYS.enter}`);
    await screen.waitFor(/^\$ $/);
  }
  const recorder = new FrameRecorder([
    { screen: prompt, ...PROMPT },
    { screen: shell, ...SHELL },
  ]);
  try {
    await run(shell, 'make start');
    await type(prompt, 'make run');
    await prompt.waitFor(/^Q> $/m);
    await type(prompt, QUESTION);
    await prompt.waitFor(/^ *who knew/m);
    await run(shell, `kill -9 ${lastPid(shell.text, 'chat agent')}  # the agent`);
    await run(shell, 'make start');
    await prompt.waitFor(/the answer/m);
    await run(shell, `kill -9 ${lastPid(shell.text, 'sentinel')}  # the sentinel`);
    await run(shell, 'make start');
    await prompt.waitFor(/asked to get\.\n+Q> $/);
    return { frames: recorder.stop(MAX_PAUSE_MS), text: prompt.text };
  } finally {
    await run(shell, 'make stop');
  }
}

// A build during the recording would be on the screen.
execFileSync('make', ['--silent', 'dist/.made'], { cwd: ROOT, env: cleanEnv(), stdio: 'inherit' });
const port = (await isPortTaken('127.0.0.1', DEFAULT_PORT)) ? await freePort() : DEFAULT_PORT;
const model = await startOfflineServer({ port: 0, chunkDelayMs: WORD_MS });
try {
  const { frames, text } = await record(port, model.url);
  // The line of a word that the note interrupted continues on the next line, so only the words are compared.
  deepStrictEqual(words(shownAnswer(text)), words(await wholeAnswer()));
  const svg = drawSvg({
    about: ABOUT,
    terminals: [PROMPT, SHELL],
    frames,
    durationMs: frames.at(-1)!.atMs + LAST_FRAME_MS,
  });
  const file = process.argv[2] ?? join(ROOT, 'docs/recording.svg');
  writeFileSync(file, svg);
  console.log(`${file}: ${frames.length} frames, ${frames.at(-1)!.atMs} ms, ${svg.length} bytes`);
} finally {
  await model.close();
  await stopAll();
}
