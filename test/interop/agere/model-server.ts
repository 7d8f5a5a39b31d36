// A model server on loopback that streams the answers of a dialogue. Unlike the fake server of the test kit it accepts every
// request: Agere writes the text of an answer and its calls as two messages, which a strict server refuses.
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Choice, Dialogue } from './dialogues.ts';

export async function serveAnswers(answers: Dialogue['answers']) {
  const left = [...answers];
  const server = createServer((request, response) => {
    request.resume();
    request.once('end', () => stream(response, left.shift()));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    unused: () => left.length,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function stream(response: ServerResponse, choices: readonly Choice[] | undefined): void {
  if (choices === undefined) {
    response.writeHead(400, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ error: { message: 'The dialogue has no further answer.' } }));
    return;
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const choice of choices) {
    const chunk = {
      id: 'chatcmpl-1',
      object: 'chat.completion.chunk',
      created: 1,
      model: 'gpt-4',
      choices: [{ index: 0, finish_reason: null, ...choice }],
    };
    response.write(`data: ${JSON.stringify(chunk)}\n\n`);
  }
  response.end('data: [DONE]\n\n');
}
