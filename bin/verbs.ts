// The table of verbs: arguments, flags, help, and the file that runs each. Help texts and argument checks are generated from
// it. The file of a verb, and the workspaces that it imports, load only when the verb runs, so that each command starts fast.
import type { VerbInput } from './verb.ts';

export interface Flag {
  type: 'string' | 'boolean';
  short?: string;
  /** Placeholder for the value in the help. */
  value?: string;
  /** True if it may be given several times. @default false */
  isRepeatable?: boolean;
  about: string;
}

export interface Verb {
  about: string;
  usage: string;
  examples: readonly string[];
  flags?: Readonly<Record<string, Flag>>;
  /** True if the verb without arguments prints its help. @default false */
  isHelpAlone?: boolean;
  /** @default unlimited */
  maxPositionals?: number;
  /** True if the overview omits the verb, because only `make` uses it. @default false */
  isHidden?: boolean;
  /** Loads the verb's file. Its `run` resolves to the exit code. */
  load(): Promise<{ run(input: VerbInput): Promise<number> }>;
}

const json: Flag = { type: 'boolean', about: 'print JSON, for programs' };
const port: Flag = {
  type: 'string',
  value: 'PORT',
  about: 'listen on this port, 0 for a free one (FAME_LISTENER_PORT)',
};

export const VERBS: Readonly<Record<string, Verb>> = {
  up: {
    about: 'run a sentinel and the chat agent in this process',
    usage: 'npx fame-fabric up [--port PORT]',
    examples: ['npx fame-fabric up', 'OPENAI_API_KEY=... npx fame-fabric up'],
    flags: { port },
    maxPositionals: 0,
    load: () => import('./verbs/up.ts'),
  },
  dev: {
    about: 'run the agents of files, and restart them when a file changes',
    usage: 'npx fame-fabric dev FILE... [--port PORT]',
    examples: ['npx fame-fabric dev agent.ts', 'npx fame-fabric dev shop.ts stock.ts --port 8001'],
    flags: { port },
    isHelpAlone: true,
    load: () => import('./verbs/dev.ts'),
  },
  sentinel: {
    about: 'run a sentinel, which nodes attach to',
    usage: 'npx fame-fabric sentinel [--port PORT]',
    examples: ['npx fame-fabric sentinel', 'FAME_LOG_LEVEL=debug npx fame-fabric sentinel --port 8001'],
    flags: { port },
    maxPositionals: 0,
    load: () => import('./verbs/sentinel.ts'),
  },
  doors: {
    about: 'serve the agents of a sentinel to clients of other protocols, over HTTP',
    usage: 'npx fame-fabric doors [--url URL] [--port PORT] [--host HOST]',
    examples: [
      'npx fame-fabric doors',
      'npx fame-fabric doors --url ws://10.0.0.5:8000/fame/v1/attach/ws/downstream --port 8080',
      'FAME_DOORS=openai,http npx fame-fabric doors',
    ],
    flags: {
      url: {
        type: 'string',
        value: 'URL',
        about: 'admission URL of the sentinel (FAME_DIRECT_ADMISSION_URL)',
      },
      port: {
        type: 'string',
        value: 'PORT',
        about: 'listen on this port, 0 for a free one (FAME_DOORS_PORT)',
      },
      host: { type: 'string', value: 'HOST', about: 'listen on this interface (FAME_DOORS_HOST)' },
    },
    maxPositionals: 0,
    load: () => import('./verbs/doors.ts'),
  },
  agent: {
    about: 'run the chat agent, or those named: chat, refine, team, echo, math',
    usage: 'npx fame-fabric agent [NAME...]',
    examples: [
      'npx fame-fabric agent',
      'npx fame-fabric agent chat math',
      'OPENAI_API_KEY=... MODEL_NAME=gpt-4.1 npx fame-fabric agent',
    ],
    load: () => import('./verbs/agent.ts'),
  },
  team: {
    about: 'check, draw or run a team of agents from its file',
    usage: 'npx fame-fabric team check|diagram|run FILE [MESSAGE]',
    examples: [
      'npx fame-fabric team check team.yaml',
      'npx fame-fabric team diagram team.yaml',
      'npx fame-fabric team run team.yaml "Where is my order 1042?"',
      'npx fame-fabric team run team.yaml',
    ],
    load: () => import('./verbs/team.ts'),
  },
  conversations: {
    about:
      'list, show, export, remove, restore or back up conversations of this machine or of a running agent',
    usage:
      'npx fame-fabric conversations [ls [--trash] | show ID | export ID | rm ID [--now] | restore ID | sweep [--now] | backup FILE | restore-backup FILE] [--from ADDRESS] [--json]',
    examples: [
      'npx fame-fabric conversations ls',
      'npx fame-fabric conversations show 3H6Tq9wYb2LkPz7d',
      'npx fame-fabric conversations export 3H6Tq9wYb2LkPz7d > journal.jsonl',
      'npx fame-fabric conversations rm 3H6Tq9wYb2LkPz7d --now',
      'npx fame-fabric conversations backup /backup/fame-2026-11-29.db',
      'npx fame-fabric conversations ls --from chat@fame.fabric --failed',
      'npx fame-fabric conversations show 3H6Tq9wYb2LkPz7d --from chat@fame.fabric',
    ],
    flags: {
      from: {
        type: 'string',
        value: 'ADDRESS',
        about: 'ls, show, export: ask the running agent at this address instead of the store',
      },
      failed: { type: 'boolean', about: 'ls --from: only conversations whose last turn failed' },
      search: {
        type: 'string',
        value: 'TEXT',
        about: 'ls --from: only conversations that contain this text',
      },
      trash: { type: 'boolean', about: 'ls: list the trash' },
      now: { type: 'boolean', about: 'rm: skip the trash; sweep: also empty the trash' },
      json,
    },
    load: () => import('./verbs/conversations.ts'),
  },
  requests: {
    about: 'list durable requests of agents on this machine, and run dead ones again',
    usage: 'npx fame-fabric requests [ls [--dead] | retry ID | rm ID] [--agent ADDRESS] [--json]',
    examples: [
      'npx fame-fabric requests ls --dead',
      'npx fame-fabric requests retry order-1042',
      'npx fame-fabric requests rm order-1042 --agent orders@fame.fabric',
    ],
    flags: {
      dead: { type: 'boolean', about: 'ls: only requests that were given up' },
      agent: { type: 'string', value: 'ADDRESS', about: 'only requests of this agent' },
      json,
    },
    load: () => import('./verbs/requests.ts'),
  },
  chat: {
    about: 'talk to a chat agent',
    usage:
      'npx fame-fabric chat [ADDRESS] [-m TEXT] [--lines] [--json] [--system TEXT] [--model NAME] [--resume [ID]]',
    examples: [
      'npx fame-fabric chat',
      'npx fame-fabric chat --resume',
      'npx fame-fabric chat --system "Answer in one sentence."',
      'npx fame-fabric chat -m "What is 2+2?"',
      'npx fame-fabric chat -m "Summarize this." < notes.txt',
      "printf 'My name is Ada.\\nWhat is my name?\\n' | npx fame-fabric chat --lines",
    ],
    flags: {
      message: {
        type: 'string',
        short: 'm',
        value: 'TEXT',
        about: 'send this message, print the answer and exit; the text of a pipe or file is appended',
      },
      lines: {
        type: 'boolean',
        about: 'send each line of a pipe as a message, instead of the whole pipe as one',
      },
      json: { type: 'boolean', about: 'with -m or a pipe: print each answer as a line of JSON' },
      system: { type: 'string', value: 'TEXT', about: 'system prompt (FAME_SYSTEM_PROMPT)' },
      model: { type: 'string', value: 'NAME', about: 'the model of the turns, one that the agent offers' },
      resume: {
        type: 'boolean',
        about: 'continue an earlier conversation: the one with this ID, or one from a list',
      },
    },
    maxPositionals: 2,
    load: () => import('./verbs/chat.ts'),
  },
  acp: {
    about: 'serve a chat agent to an editor, over the Agent Client Protocol on stdin and stdout',
    usage: 'npx fame-fabric acp [--agent ADDRESS] [--url URL] [--system TEXT] [--model NAME]',
    examples: [
      'npx fame-fabric acp',
      'npx fame-fabric acp --agent team@fame.fabric',
      'npx fame-fabric acp --url wss://fabric.example/fame/v1/attach/ws/downstream',
    ],
    flags: {
      agent: { type: 'string', value: 'ADDRESS', about: 'the chat agent (FAME_CHAT_ADDRESS)' },
      url: {
        type: 'string',
        value: 'URL',
        about: 'admission URL of the sentinel (FAME_DIRECT_ADMISSION_URL)',
      },
      system: {
        type: 'string',
        value: 'TEXT',
        about: 'system prompt of new sessions (FAME_SYSTEM_PROMPT)',
      },
      model: { type: 'string', value: 'NAME', about: 'the model of the turns, one that the agent offers' },
    },
    maxPositionals: 0,
    load: () => import('./verbs/acp.ts'),
  },
  call: {
    about: 'call an operation of an agent and print its result',
    usage: 'npx fame-fabric call ADDRESS METHOD [JSON] [--stream] [--timeout TIME] [--json]',
    examples: [
      'npx fame-fabric call chat@fame.fabric describe',
      `npx fame-fabric call math@fame.fabric add '{"x": 1, "y": 2}'`,
      `npx fame-fabric call math@fame.fabric fib_stream '{"n": 10}' --stream --timeout 5s`,
    ],
    flags: {
      stream: {
        type: 'boolean',
        about: 'print every item of a streaming operation, not only the first',
      },
      timeout: {
        type: 'string',
        value: 'TIME',
        about:
          'how long to wait for a sentinel and then for an answer, such as 500ms, 30s or 2m; a plain number is seconds (default 30s)',
      },
      json,
    },
    maxPositionals: 3,
    load: () => import('./verbs/call.ts'),
  },
  describe: {
    about: 'show the operations of an agent and their parameters',
    usage: 'npx fame-fabric describe ADDRESS [--json]',
    examples: [
      'npx fame-fabric describe math@fame.fabric',
      "npx fame-fabric describe chat@fame.fabric --json | jq '.operations[].name'",
    ],
    flags: { json: { type: 'boolean', about: 'print JSON, with the whole JSON Schema of the parameters' } },
    maxPositionals: 1,
    load: () => import('./verbs/describe.ts'),
  },
  ps: {
    about: 'list nodes, addresses, capabilities and queues',
    usage: 'npx fame-fabric ps [--json]',
    examples: ['npx fame-fabric ps', "npx fame-fabric ps --json | jq '.nodes[].addresses'"],
    flags: { json },
    maxPositionals: 0,
    load: () => import('./verbs/ps.ts'),
  },
  trace: {
    about: 'show live the envelopes that pass through the sentinel: metadata, never content',
    usage: 'npx fame-fabric trace [--from TEXT] [--to TEXT] [--type TEXT] [--corr ID] [--errors] [--json]',
    examples: [
      'npx fame-fabric trace',
      'npx fame-fabric trace --type data --to chat@fame.fabric',
      'npx fame-fabric trace --errors --json',
    ],
    flags: {
      from: { type: 'string', value: 'TEXT', about: "only envelopes whose sender's path contains this" },
      to: { type: 'string', value: 'TEXT', about: 'only envelopes whose target contains this' },
      type: {
        type: 'string',
        value: 'TEXT',
        about: 'only envelopes whose frame type contains this, such as data',
      },
      corr: { type: 'string', value: 'ID', about: 'only envelopes with this correlation id' },
      errors: { type: 'boolean', about: 'only envelopes that were refused' },
      json,
    },
    maxPositionals: 0,
    load: () => import('./verbs/trace.ts'),
  },
  key: {
    about: 'add, list, remove and replace the keys of a sentinel',
    usage:
      'npx fame-fabric key [ls | add NAME [--role ROLE] [--expires TIME] [--allow PATTERN]... | rm NAME | rotate NAME [--overlap TIME] | rotate local] [--json]',
    examples: [
      'npx fame-fabric key add ada > ada.key',
      "npx fame-fabric key add billing --role agent --expires 30d --allow 'billing@**'",
      'npx fame-fabric key ls',
      'npx fame-fabric key rotate ada --overlap 1h',
      'npx fame-fabric key rm ada',
      'npx fame-fabric key rotate local',
    ],
    flags: {
      role: {
        type: 'string',
        value: 'ROLE',
        about: 'add: client, agent, sentinel, door or admin (default client)',
      },
      expires: {
        type: 'string',
        value: 'TIME',
        about:
          'add, rotate: the key is valid for this time, such as 12h or 30d (default: it does not expire)',
      },
      allow: {
        type: 'string',
        value: 'PATTERN',
        isRepeatable: true,
        about: 'add: restrict the key to addresses such as *@fame.fabric; may be repeated',
      },
      overlap: {
        type: 'string',
        value: 'TIME',
        about: 'rotate: the old key stays valid for this time, such as 30m or 1h (default 0)',
      },
      json,
    },
    isHelpAlone: true,
    load: () => import('./verbs/key.ts'),
  },
  policy: {
    about: 'check a policy file',
    usage: 'npx fame-fabric policy check FILE',
    examples: ['npx fame-fabric policy check policy.yaml'],
    isHelpAlone: true,
    maxPositionals: 2,
    load: () => import('./verbs/policy.ts'),
  },
  why: {
    about: 'explain a decision: the rule, its file and line, and what would change it',
    usage:
      'npx fame-fabric why --as NAME [--role ROLE]... [--scope SCOPE]... (--call ADDRESS | --bind ADDRESS | --advertise ADDRESS | --connect | --watch PAGE | --read-conversation ID) [--policy FILE] [--json]',
    examples: [
      'npx fame-fabric why --as ada --call chat@fame.fabric',
      'npx fame-fabric why --as billing --bind billing@fame.fabric --policy next.yaml',
      'npx fame-fabric why --as jwt:login.example.com/7 --role client --scope team.read --connect',
      'npx fame-fabric why --as ada --read-conversation 3H6Tq9wYb2LkPz7d',
    ],
    flags: {
      as: {
        type: 'string',
        value: 'NAME',
        about: 'the principal: the name of a key, local, anonymous, or an id such as jwt:ISSUER/SUBJECT',
      },
      role: {
        type: 'string',
        value: 'ROLE',
        isRepeatable: true,
        about: 'its role, instead of the one in the keys file; may be repeated',
      },
      scope: {
        type: 'string',
        value: 'SCOPE',
        isRepeatable: true,
        about: 'a scope of its token; may be repeated',
      },
      call: { type: 'string', value: 'ADDRESS', about: 'may it call this address?' },
      bind: { type: 'string', value: 'ADDRESS', about: 'may it bind this address?' },
      advertise: {
        type: 'string',
        value: 'ADDRESS',
        about: 'may it advertise capabilities of this address?',
      },
      connect: { type: 'boolean', about: 'may it attach?' },
      watch: { type: 'string', value: 'PAGE', about: 'may it read this page: nodes, trace or metrics?' },
      'read-conversation': {
        type: 'string',
        value: 'ID',
        about: 'may it read this conversation of the store of this machine?',
      },
      policy: { type: 'string', value: 'FILE', about: 'decide by this policy (FAME_AUTH_POLICY_PATH)' },
      json,
    },
    maxPositionals: 0,
    load: () => import('./verbs/why.ts'),
  },
  token: {
    about: 'run a token issuer for development on this machine, or print a token',
    usage:
      'npx fame-fabric token serve [--port PORT] [--expires TIME] | token issue --sub NAME [--scope TEXT] [--role ROLE] [--aud TEXT] [--expires TIME] [--port PORT]',
    examples: [
      'npx fame-fabric token serve',
      'npx fame-fabric token issue --sub ada --expires 1h > ada.token',
      'npx fame-fabric token issue --sub ada --scope "node.connect node.trusted"',
    ],
    flags: {
      sub: { type: 'string', value: 'NAME', about: 'issue: the subject' },
      scope: {
        type: 'string',
        value: 'TEXT',
        about: 'issue: space-separated scopes (default node.connect)',
      },
      role: {
        type: 'string',
        value: 'ROLE',
        about: 'issue: client, agent, sentinel, door or admin (default: client and agent)',
      },
      aud: {
        type: 'string',
        value: 'TEXT',
        about: 'issue: the audience (FAME_JWT_AUDIENCE, else fame.fabric)',
      },
      expires: {
        type: 'string',
        value: 'TIME',
        about: 'tokens are valid for this time, such as 5m or 12h (default 1h)',
      },
      port: {
        type: 'string',
        value: 'PORT',
        about: 'port of the issuer (default 8099); serve: 0 for a free one',
      },
      host: { type: 'string', value: 'HOST', about: 'loopback address of the issuer (default 127.0.0.1)' },
    },
    isHelpAlone: true,
    load: () => import('./verbs/token.ts'),
  },
  mcp: {
    about: 'list the MCP servers of the chat agent, show their tools, and confirm tools that have changed',
    usage: 'npx fame-fabric mcp [ls | show NAME | confirm NAME] [--json]',
    examples: [
      'npx fame-fabric mcp ls',
      'npx fame-fabric mcp show files',
      'npx fame-fabric mcp confirm files',
    ],
    flags: { json },
    maxPositionals: 2,
    load: () => import('./verbs/mcp.ts'),
  },
  console: {
    about: 'print a link that opens the console in a browser and signs in, once',
    usage: 'npx fame-fabric console [--json]',
    examples: ['npx fame-fabric console', 'xdg-open "$(npx fame-fabric console)"'],
    flags: { json },
    maxPositionals: 0,
    load: () => import('./verbs/console.ts'),
  },
  doctor: {
    about: 'check this machine and the connection, and print fixes',
    usage: 'npx fame-fabric doctor [--json]',
    examples: ['npx fame-fabric doctor'],
    flags: { json },
    maxPositionals: 0,
    load: () => import('./verbs/doctor.ts'),
  },
  'offline-model': {
    about: 'serve the built-in model as an OpenAI-compatible endpoint',
    usage: 'npx fame-fabric offline-model [--port PORT] [--host HOST]',
    examples: [
      'npx fame-fabric offline-model --port 8100',
      'OPENAI_BASE_URL=http://127.0.0.1:8100/v1 npx fame-fabric agent',
    ],
    flags: {
      port: { type: 'string', value: 'PORT', about: 'listen on this port, 0 for a free one (default 8100)' },
      host: { type: 'string', value: 'HOST', about: 'listen on this interface (default 127.0.0.1)' },
    },
    maxPositionals: 0,
    load: () => import('./verbs/offline-model.ts'),
  },
  version: {
    about: 'print the version',
    usage: 'npx fame-fabric version [--json]',
    examples: ['npx fame-fabric version'],
    flags: { json },
    maxPositionals: 0,
    load: () => import('./verbs/version.ts'),
  },
  local: {
    about: 'manage the background processes of `make start`',
    usage: 'npx fame-fabric local start|stop|status|logs [--mode local|docker] [--follow] [--json]',
    examples: [
      'npx fame-fabric local start --mode local',
      'npx fame-fabric local status --json',
      'npx fame-fabric local stop',
    ],
    flags: {
      mode: {
        type: 'string',
        value: 'MODE',
        about: 'start: local for processes, docker for docker compose (default local)',
      },
      follow: { type: 'boolean', short: 'f', about: 'logs: follow the logs' },
      json,
    },
    maxPositionals: 1,
    isHidden: true,
    load: () => import('./verbs/local.ts'),
  },
};
