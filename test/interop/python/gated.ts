// G2 with Python: agents and a client of the peer with the profile gated on our gated sentinel, with tokens of the peer's development
// token server. Part of `npm run interop-python`.
import { deepStrictEqual, match, notStrictEqual, ok } from 'node:assert/strict';
import { runFame, startOurAgent } from '../../kit/commands.ts';
import { freePort, healthy, Proc } from '../../kit/processes.ts';
import { type OurSentinel, startOurSentinel } from '../../kit/sentinel.ts';

const CLIENT = { id: 'dev-client', secret: 'dev-s3cret' };
const AUDIENCE = 'fame.fabric';

type Check = (what: string, run: () => void | Promise<void>) => void;

export interface PythonNodes {
  python: string;
  /** Runs a script of the peer with these variables. */
  start: (sentinel: OurSentinel, script: string, args: string[], env: Record<string, string>) => Proc;
  /** Waits until the agent is served at the address. */
  served: (sentinel: OurSentinel, agent: Proc, address: string) => Promise<Proc>;
}

async function startTokenServer(python: string): Promise<string> {
  const port = await freePort();
  const issuer = `http://127.0.0.1:${port}`;
  const server = new Proc(python, ['-m', 'naylence.fame.fastapi.oauth2_server'], {
    name: 'python token server',
    env: {
      APP_HOST: '127.0.0.1',
      APP_PORT: String(port),
      FAME_JWT_ISSUER: issuer,
      FAME_JWT_CLIENT_ID: CLIENT.id,
      FAME_JWT_CLIENT_SECRET: CLIENT.secret,
    },
  });
  await healthy(`${issuer}/.well-known/jwks.json`, server);
  return issuer;
}

/** Starts the nodes, and registers the checks. */
export async function checkGated({ python, start, served }: PythonNodes, check: Check): Promise<void> {
  const issuer = await startTokenServer(python);
  const sentinel = await startOurSentinel({
    env: {
      FAME_SECURITY_PROFILE: 'gated',
      FAME_JWT_TRUSTED_ISSUER: issuer,
      FAME_JWT_ALGORITHM: 'EdDSA',
      FAME_JWT_AUDIENCE: AUDIENCE,
    },
  });
  const admitted = (secret = CLIENT.secret, audience = AUDIENCE): Record<string, string> => ({
    FAME_SECURITY_PROFILE: 'gated',
    // Their nodes check tokens too, with the profile gated.
    FAME_JWT_TRUSTED_ISSUER: issuer,
    FAME_JWT_ALGORITHM: 'EdDSA',
    FAME_ADMISSION_PROFILE: 'direct',
    FAME_ADMISSION_TOKEN_URL: `${issuer}/oauth/token`,
    FAME_ADMISSION_CLIENT_ID: CLIENT.id,
    FAME_ADMISSION_CLIENT_SECRET: secret,
    FAME_JWT_AUDIENCE: audience,
  });
  const { url } = sentinel;
  const address = 'chat-py@fame.fabric';
  await Promise.all([
    startOurAgent({ url, env: admitted() }),
    served(sentinel, start(sentinel, 'agent.py', ['chat', address], admitted()), address),
  ]);
  check('G2: a Python client with a token has a conversation with our agent', async () => {
    const client = start(sentinel, '../samples/talk.py', [], admitted());
    deepStrictEqual((await client.exited).code, 0, client.output);
    deepStrictEqual(client.output.match(/^.*\bAda\b.*$/gm)?.length, 2);
  });
  check('G2: fame chat with a token talks to a Python agent with a token', async () => {
    const { code, stdout } = await runFame({ url, env: admitted() }, ['chat', address], 'Hello\n');
    deepStrictEqual([code, stdout.trim()], [0, 'prompt: You are a helpful assistant.; messages: 1']);
  });
  for (const [what, env, text] of [
    ['a token for another audience', admitted(CLIENT.secret, 'other'), /another audience/],
    ['a wrong secret', admitted('wrong'), /401|invalid_client/],
  ] as const) {
    check(`G2: a Python agent with ${what} reports the refusal and ends`, async () => {
      const agent = start(sentinel, 'agent.py', ['math', 'refused@fame.fabric'], env);
      const { code } = await agent.exited;
      notStrictEqual(code, 0);
      match(agent.output, text);
      ok(!agent.output.includes(CLIENT.secret));
    });
  }
}
