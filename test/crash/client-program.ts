// The client that crash tests kill: sends the messages it reads on stdin, and prints each event of each turn as a line of JSON. It
// keeps nothing: the process that starts it again passes the conversation, the turn, and what was received of it.
import { createInterface } from 'node:readline';
import { connect } from '@fame-fabric/client/node';
import { isFabricError } from '@fame-fabric/shared';

/** One line of stdin. */
export interface Ask {
  conversationId: string;
  turnId: string;
  text: string;
  /** The seq of the last event that an earlier process saw. */
  after: number;
  /** The conversation is there already. */
  isResumed: boolean;
}

const client = await connect({ url: process.argv[2]! });
const say = (line: unknown): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

async function ask({ conversationId, turnId, text, after, isResumed }: Ask): Promise<void> {
  const conversation = client.conversation('chat@fame.fabric', { id: conversationId, isResumed });
  try {
    for await (const event of conversation.stream(text, { turnId, after })) say({ turnId, event });
  } catch (error) {
    say({ turnId, error: isFabricError(error) ? error.code : 'INTERNAL', message: String(error) });
  }
}

say({ ready: true });
for await (const line of createInterface({ input: process.stdin })) void ask(JSON.parse(line) as Ask);
process.exit(0);
