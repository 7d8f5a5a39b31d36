// The fake OpenAI server as a process of its own, for tests that kill agents: it lives on, and counts what it was asked.
// Prints {"url", "origin"} as one line of JSON, then serves until SIGTERM, or until its parent closes its stdin pipe.
//
//   FAKE_OPENAI_PORT            port (0: a free one)
//   FAKE_OPENAI_CHUNK_DELAY_MS  pause before each chunk (0)
//   FAKE_OPENAI_CHUNKS          pieces of an answer (8)
//   FAKE_OPENAI_HOLD_AFTER      stop after so many chunks until POST /_release (-1: never)
//
//   GET  /_requests   {count, connections, violations, requests: [{index, body, state}]}
//   POST /_settings   changes chunkDelayMs, chunks, holdAfter, failCount, failStatus; answers with all of them
//   POST /_release    lets held answers go on
import { fstatSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { errorObject, readJson, sendJson } from '../model/openai/openai-wire.ts';
import { ECHO_DEFAULTS, EchoAnswers } from './echo-answers.ts';
import { FakeOpenAI } from './openai-server.ts';

const number = (name: string, fallback: number): number => {
  const value = Number(process.env[name] || fallback);
  if (!Number.isInteger(value)) throw new Error(`${name} must be a whole number.`);
  return value;
};

const echo = new EchoAnswers();
echo.settings = {
  ...ECHO_DEFAULTS,
  chunkDelayMs: number('FAKE_OPENAI_CHUNK_DELAY_MS', ECHO_DEFAULTS.chunkDelayMs),
  chunks: number('FAKE_OPENAI_CHUNKS', ECHO_DEFAULTS.chunks),
  holdAfter: number('FAKE_OPENAI_HOLD_AFTER', ECHO_DEFAULTS.holdAfter),
};

const states = new Map<number, string>();
const server = new FakeOpenAI({
  admin,
  respond(request, index) {
    states.set(index, 'open');
    void server.requests[index]?.ended.then((state) => states.set(index, state));
    return echo.answer(request);
  },
});

function admin(request: IncomingMessage, response: ServerResponse): boolean {
  const route = `${request.method} ${request.url}`;
  if (route === 'GET /_requests') {
    sendJson(response, 200, {
      count: server.count,
      connections: server.connections,
      violations: server.violations,
      requests: server.requests.map(({ index, body }) => ({
        index,
        body,
        state: states.get(index) ?? 'refused',
      })),
    });
  } else if (route === 'POST /_settings') {
    readJson(request, 4096).then(
      (changes) => sendJson(response, 200, Object.assign(echo.settings, changes)),
      (error: Error) => sendJson(response, 400, errorObject({ message: error.message })),
    );
  } else if (route === 'POST /_release') {
    echo.release();
    sendJson(response, 200, {});
  } else return false;
  return true;
}

await server.listen(number('FAKE_OPENAI_PORT', 0));
process.stdout.write(`${JSON.stringify({ url: server.url, origin: server.origin })}\n`);

const stop = (): void => {
  void server.close().then(() => process.exit(0));
};
process.once('SIGTERM', stop);
process.once('SIGINT', stop);
// A parent that dies closes the pipe; without one (a terminal, /dev/null) only a signal ends the server.
const stdin = fstatSync(0);
if (stdin.isFIFO() || stdin.isSocket()) process.stdin.resume().once('end', stop);
