// The client that crash tests kill: sends the messages that it reads on stdin, and prints each event of each turn as a line of
// JSON. It has no state: a restarted client gets the conversation, the turn and the last received event on stdin.
import { createInterface } from 'node:readline';
import type { ModelOptions, ToolResult } from '@fame-fabric/client';
import { connect } from '@fame-fabric/client/node';
import { isFabricError } from '@fame-fabric/shared';

/** One line of stdin. */
export interface TurnRequest {
  conversationId: string;
  turnId: string;
  text: string;
  options?: ModelOptions | undefined;
  toolResults?: readonly ToolResult[] | undefined;
  /** Sequence number of the last event that an earlier process received. */
  after: number;
  /** True if the conversation exists already. */
  isResumed: boolean;
}

/** Another line: approves a call that a turn waits for. */
export interface ApprovalLine {
  conversationId: string;
  approve: string;
}

const client = await connect({ url: process.argv[2]! });
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const print = (line: unknown): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

async function runTurn({ conversationId, isResumed, text, ...turn }: TurnRequest): Promise<void> {
  const { turnId } = turn;
  const conversation = client.conversation('chat@fame.fabric', { id: conversationId, isResumed });
  try {
    for await (const event of conversation.stream(text, turn)) print({ turnId, event });
  } catch (error) {
    print({ turnId, error: isFabricError(error) ? error.code : 'INTERNAL', message: String(error) });
  }
}

async function approve({ conversationId, approve: callId }: ApprovalLine): Promise<void> {
  const conversation = client.conversation('chat@fame.fabric', { id: conversationId, isResumed: true });
  for (;;) {
    try {
      return await conversation.answerApproval(callId, { approve: true });
    } catch (error) {
      // The agent died before it replied, so its journal may lack the approval.
      if (!isFabricError(error) || !error.retryable) throw error;
      await pause(50);
    }
  }
}

print({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line) as TurnRequest | ApprovalLine;
  void ('approve' in request ? approve(request) : runTurn(request));
}
process.exit(0);
